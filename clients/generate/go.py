"""Generate clients/go/gen from the protos: `python -m clients.generate.go`, from the root.

protoc comes with grpcio-tools. Its plugins are Go programs, pinned in clients/go/tools/go.mod with
their hashes in go.sum; they are built into .fanfare/tools/go.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

from clients.generate.contract import ROOT, write_contract

CLIENT = ROOT / "clients" / "go"
TOOLS = ROOT / ".fanfare" / "tools" / "go"
PLUGINS = {
    "go": ["module=fanfare.dev"],
    "go-grpc": ["module=fanfare.dev"],
    "connect-go": ["module=fanfare.dev", "simple"],
}
SERVICE_CONFIG = "fanfare/service_config.json"
# Without the paths of the checkout, Go's build cache serves other checkouts too.
GOFLAGS = "-mod=readonly -trimpath"


def install_plugins() -> None:
    """Build protoc's plugins, which takes some seconds only if their versions have changed.

    Raises:
        CalledProcessError: The go command failed; it has printed why.
    """
    environment = {**os.environ, "GOBIN": str(TOOLS), "GOFLAGS": GOFLAGS}
    subprocess.run(["go", "install", "tool"], cwd=CLIENT / "tools", env=environment, check=True)


def generate(out: Path) -> None:
    """Write the generated files into the folder out, as they are in clients/go."""
    install_plugins()
    shutil.rmtree(out / "gen", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        contract = Path(folder) / "contract.binpb"
        files = write_contract(contract)
        arguments = ["protoc", f"--descriptor_set_in={contract}"]
        for plugin, options in PLUGINS.items():
            program = TOOLS / f"protoc-gen-{plugin}"
            arguments += [f"--plugin={program}", f"--{plugin}_out={out}"]
            arguments += [f"--{plugin}_opt={option}" for option in options]
        if protoc.main([*arguments, *files]) != 0:
            sys.exit("protoc or one of its plugins failed; the message above says why")
    (out / SERVICE_CONFIG).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "docs" / "service_config.json", out / SERVICE_CONFIG)


if __name__ == "__main__":
    generate(CLIENT)
