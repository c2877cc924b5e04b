"""The committed software bill of materials, against the locks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = ROOT / "deploy" / "sbom.json"


def test_the_committed_bill_is_that_of_the_locks(tmp_path: Path) -> None:
    """After a change of the locks, `make sbom` must be run too."""
    fresh = tmp_path / "sbom.json"
    subprocess.run([sys.executable, ROOT / "requirements" / "sbom.py", fresh], check=True)
    assert fresh.read_bytes() == COMMITTED.read_bytes(), "run `make sbom` and commit what it writes"


def test_it_is_cyclonedx() -> None:
    """The bill is valid by the strict schema of CycloneDX 1.6."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(COMMITTED.read_text())
    assert error is None, error


def test_every_package_of_the_image_is_required() -> None:
    """Each package of the image's lock is in the bill with the scope "required"."""
    text = COMMITTED.read_text()
    packages = re.findall(
        r"^(\S+)==(\S+)", (ROOT / "requirements" / "serve.txt").read_text(), re.MULTILINE
    )
    assert len(packages) > 40
    for name, version in packages:
        assert re.search(
            rf'"purl": "pkg:pypi/{re.escape(f"{name}@{version}")}",\s+"scope": "required"', text
        ), name
