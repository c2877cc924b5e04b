"""Connect's own conformance suite, which `make conformance` builds and runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(__file__).parent / "conformance"
MODULE = "connectrpc.com/conformance"
PROTOS = [f"connectrpc/conformance/v1/{name}.proto" for name in ("service", "server_compat")]
# The suite has more, and fewer would say that the configuration selects too little.
LEAST_CASES = 250


@pytest.fixture
def runner() -> Path:
    """Return the suite's runner."""
    found = ROOT / ".fanfare" / "tools" / "connectconformance"
    if not found.exists() or shutil.which("go") is None:
        pytest.skip("run `make conformance`, which needs Go: Connect's suite was not run")
    return found


def _descriptor_set(runner: Path, folder: Path) -> Path:
    """Return the suite's contract, from the module that its runner was built from."""
    built = subprocess.run(
        ["go", "version", "-m", runner], capture_output=True, text=True, check=True
    )
    version = re.search(rf"^\tmod\t{re.escape(MODULE)}\t(\S+)", built.stdout, re.MULTILINE)
    assert version is not None, built.stdout
    cache = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True)
    out = folder / "conformance.binpb"
    arguments = [
        f"--proto_path={cache.stdout.strip()}/{MODULE}@{version[1]}/proto",
        f"--proto_path={Path(protoc.__file__).parent / '_proto'}",
        "--include_imports",
        f"--descriptor_set_out={out}",
        *PROTOS,
    ]
    assert protoc.main(["protoc", *arguments]) == 0
    return out


def test_the_gateway_conforms(runner: Path, tmp_path: Path) -> None:
    """It passes every case of what it promises, but those in known_failing.txt."""
    options = ["--mode", "server", "--conf", f"{FOLDER}/config.yaml", "-v"]
    known_failing = ["--known-failing", f"@{FOLDER}/known_failing.txt"]
    contract = str(_descriptor_set(runner, tmp_path))
    command = [sys.executable, f"{FOLDER}/server.py", contract]
    result = subprocess.run(
        [str(runner), *options, *known_failing, "--", *command],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    passed = re.search(r"(\d+) passed, 0 failed", result.stdout + result.stderr)
    assert passed is not None
    assert int(passed[1]) >= LEAST_CASES
