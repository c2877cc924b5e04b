"""The committed list of what Fanfare is made of, against the locks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = ROOT / "deploy" / "sbom.json"


def test_the_committed_list_is_that_of_the_locks(tmp_path: Path) -> None:
    """Whoever changes a lock runs `make sbom` too."""
    fresh = tmp_path / "sbom.json"
    subprocess.run([sys.executable, ROOT / "requirements" / "sbom.py", fresh], check=True)
    assert fresh.read_bytes() == COMMITTED.read_bytes(), "run `make sbom` and commit what it writes"


def test_it_is_cyclonedx() -> None:
    """Its own schema, strictly, takes it."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(COMMITTED.read_text())
    assert error is None, error


def test_every_package_of_the_image_is_required() -> None:
    """Each line of the image's lock is in the list, by name and version."""
    text = COMMITTED.read_text()
    packages = re.findall(
        r"^(\S+)==(\S+)", (ROOT / "requirements" / "serve.txt").read_text(), re.MULTILINE
    )
    assert len(packages) > 40
    for name, version in packages:
        assert re.search(
            rf'"purl": "pkg:pypi/{re.escape(f"{name}@{version}")}",\s+"scope": "required"', text
        ), name
