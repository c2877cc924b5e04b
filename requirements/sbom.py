"""Write the software bill of materials, as CycloneDX: `python requirements/sbom.py FILE`.

It is made from the locks and the list of Kafka's jars, so the same locks give the same bytes. What
the services need, and so the container image contains, has the scope "required"; what only the
embedded stack or the native gRPC server needs has the scope "optional". The hashes of Python
packages are in the locks only, because each platform has its own.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from embedded.jars import pinned_hashes

ROOT = Path(__file__).resolve().parents[1]
Component = dict[str, Any]


def sbom() -> Component:
    """Return the CycloneDX document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    serve, run, native = (_requirements(f"{name}.txt") for name in ("serve", "run", "native"))
    components = [
        *(_package(requirement, "required") for requirement in serve),
        *(_package(requirement, "optional") for requirement in run if requirement not in serve),
        *(_package(requirement, "optional") for requirement in native),
        *(_jar(coordinates, sha256) for coordinates, sha256 in pinned_hashes().items()),
    ]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": project["name"],
                "name": project["name"],
                "version": project["version"],
                "description": project["description"],
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": sorted(components, key=lambda component: str(component["bom-ref"])),
    }


def _requirements(lock: str) -> list[Requirement]:
    """Return the packages of a lock, without their hashes."""
    lines = (ROOT / "requirements" / lock).read_text().splitlines()
    return [Requirement(line.rstrip(" \\")) for line in lines if line and not line[0].isspace()]


def _package(requirement: Requirement, scope: str) -> Component:
    (pin,) = requirement.specifier
    component = _component(f"pkg:pypi/{requirement.name}@{pin.version}", scope)
    component |= {"name": requirement.name, "version": pin.version}
    if requirement.marker is not None:
        component["properties"] = [{"name": "fanfare:only-if", "value": str(requirement.marker)}]
    return component


def _jar(coordinates: str, sha256: str) -> Component:
    group, artifact, version = coordinates.split(":")
    return _component(f"pkg:maven/{group}/{artifact}@{version}", "optional") | {
        "group": group,
        "name": artifact,
        "version": version,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
    }


def _component(purl: str, scope: str) -> Component:
    return {"type": "library", "bom-ref": purl, "purl": purl, "scope": scope}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(sbom(), indent=1) + "\n")
