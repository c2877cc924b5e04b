"""The audit of the packages, with a fake pip-audit."""

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
    """Run the audit with a fake pip-audit; canary, locks: its shell commands for each."""
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
    """The audit succeeds silently if the database knows no vulnerability of ours."""
    answer = audit(tmp_path, FOUND, "exit 0")
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_known_vulnerability_fails(tmp_path: Path) -> None:
    """A vulnerability is printed, and the exit status is 1."""
    answer = audit(tmp_path, FOUND, "echo aiohttp 1.0 PYSEC-1; exit 1")
    assert (answer.returncode, answer.stdout) == (1, "aiohttp 1.0 PYSEC-1\n")


def test_a_package_that_cannot_be_looked_up_fails(tmp_path: Path) -> None:
    """If the database answers but does not know a package, the audit fails."""
    assert audit(tmp_path, FOUND, UNKNOWN).returncode == 1


@pytest.mark.parametrize(
    ("canary", "reason"),
    [
        (UNKNOWN, "Dependency not found"),
        (BROKEN, "no such host"),
        ("exit 0", "pip-audit gave no reason"),
    ],
)
def test_an_unreachable_database_is_reported_and_is_no_failure(
    tmp_path: Path, canary: str, reason: str
) -> None:
    """The audit says that nothing was audited, even if a mirror without the database answers."""
    answer = audit(tmp_path, canary, "exit 1")
    assert answer.returncode == 0
    assert answer.stderr.startswith("NOT AUDITED: ")
    assert reason in answer.stderr
