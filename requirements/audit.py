"""Check the pinned packages for known vulnerabilities: `python requirements/audit.py`.

Fails if a package has a known vulnerability or cannot be looked up. If the database of
vulnerabilities cannot be reached at all, says that nothing was audited and succeeds, so that all
checks can be run on a machine without a network.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = [Path(__file__).with_name(f"{name}.txt") for name in ("serve", "run", "dev")]
# A package whose vulnerabilities have been known since 2019. A mirror that lacks the database
# answers as if no package had any vulnerability, so an answer counts only if it reports this one.
KNOWN_VULNERABLE = "urllib3==1.24.1"


def main() -> None:
    """Audit the locks; exit with status 1 if something is found."""
    if reason := _why_unreachable():
        sys.stderr.write(
            "NOT AUDITED: the packages were not checked for known vulnerabilities, because the "
            f"database cannot be reached from here ({reason}). Run `make audit` where it can.\n"
        )
        return
    requirements = [argument for lock in LOCKS for argument in ("--requirement", str(lock))]
    sys.exit(_pip_audit("--strict", "--require-hashes", *requirements).returncode)


def _why_unreachable() -> str:
    """Return why the database of vulnerabilities cannot be reached; empty if it can."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as canary:
        canary.write(KNOWN_VULNERABLE)
        canary.flush()
        answer = _pip_audit("--strict", "--no-deps", "--requirement", canary.name, quiet=True)
    if answer.returncode and KNOWN_VULNERABLE.partition("==")[0] in answer.stdout:
        return ""
    lines = answer.stderr.strip().splitlines()
    return lines[-1] if lines else "pip-audit gave no reason"


def _pip_audit(*arguments: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own arguments
        ["pip-audit", "--disable-pip", "--progress-spinner=off", *arguments],  # noqa: S607 - of the virtual environment
        capture_output=quiet,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main()
