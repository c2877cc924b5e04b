"""What the audit of the packages says and does, with an auditor that answers as told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "requirements" / "audit.py"
FOUND = 'echo "urllib3 1.24.1 PYSEC-2019-132 1.24.2"; exit 1'
UNKNOWN = 'echo "ERROR:pip_audit._cli:urllib3: Dependency not found" >&2; exit 1'
BROKEN = 'echo "Traceback" >&2; echo "ConnectionError: no such host" >&2; exit 1'


def audit(folder: Path, canary: str, locks: str) -> subprocess.CompletedProcess[str]:
    """Run the audit with a pip-audit that does this for the known vulnerability and the locks."""
    auditor = folder / "pip-audit"
    auditor.write_text(
        f'#!/bin/sh\ncase "$*" in *--no-deps*) {canary};; *serve.txt*dev.txt*) {locks};; esac\n'
    )
    auditor.chmod(0o755)
    return subprocess.run(
        [sys.executable, SCRIPT],
        env=os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_packages_without_known_vulnerabilities_pass(tmp_path: Path) -> None:
    """The database answers and knows nothing of ours."""
    answer = audit(tmp_path, FOUND, "exit 0")
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_known_vulnerability_fails(tmp_path: Path) -> None:
    """It is printed, and the status is a failure's."""
    answer = audit(tmp_path, FOUND, "echo aiohttp 1.0 PYSEC-1; exit 1")
    assert (answer.returncode, answer.stdout) == (1, "aiohttp 1.0 PYSEC-1\n")


def test_a_package_that_cannot_be_looked_up_fails(tmp_path: Path) -> None:
    """Once the database answers, strict is strict."""
    assert audit(tmp_path, FOUND, UNKNOWN).returncode == 1


@pytest.mark.parametrize(
    ("canary", "reason"),
    [(UNKNOWN, "Dependency not found"), (BROKEN, "no such host"), ("exit 0", "it said nothing")],
)
def test_a_silent_database_is_said_and_is_no_failure(
    tmp_path: Path, canary: str, reason: str
) -> None:
    """Nobody takes the silence for a clean answer, nor a mirror that knows of no vulnerability."""
    answer = audit(tmp_path, canary, "exit 1")
    assert answer.returncode == 0
    assert answer.stderr.startswith("NOT AUDITED: ")
    assert reason in answer.stderr
