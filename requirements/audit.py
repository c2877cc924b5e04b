"""Hold the locks against the database of known vulnerabilities: `python requirements/audit.py`.

Fails when a pinned package has a known vulnerability, and when one cannot be looked up. Where the
database cannot be asked at all, nothing was audited: that is said, and is no failure, so that the
checks can be run on a machine without a network.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = [Path(__file__).with_name(f"{name}.txt") for name in ("serve", "run", "dev")]
# It has vulnerabilities known since 2019. A mirror of packages that has no database answers too,
# with nothing known of anything: only who finds these can be believed that there are no others.
KNOWN_VULNERABLE = "urllib3==1.24.1"


def main() -> None:
    """Audit the locks; exits with status 1 for what is found."""
    if silence := _database_silence():
        sys.stderr.write(
            "NOT AUDITED: the packages were not checked for known vulnerabilities, because the "
            f"database of them does not answer here ({silence}). Run `make audit` where it does.\n"
        )
        return
    requirements = [argument for lock in LOCKS for argument in ("--requirement", str(lock))]
    sys.exit(_pip_audit("--strict", "--require-hashes", *requirements).returncode)


def _database_silence() -> str:
    """Return why the database cannot be asked; empty when it answers."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as canary:
        canary.write(KNOWN_VULNERABLE)
        canary.flush()
        answer = _pip_audit("--strict", "--no-deps", "--requirement", canary.name, quiet=True)
    if answer.returncode and KNOWN_VULNERABLE.partition("==")[0] in answer.stdout:
        return ""
    said = answer.stderr.strip().splitlines()
    return said[-1] if said else "it said nothing"


def _pip_audit(*arguments: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own arguments
        ["pip-audit", "--disable-pip", "--progress-spinner=off", *arguments],  # noqa: S607 - of the virtual environment
        capture_output=quiet,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main()
