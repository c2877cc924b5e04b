"""Generate clients/python/gen from the protos: `python -m clients.generate.python`, from the root.

The stubs are like those in gen/, but without the options that only the servers read.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

from clients.generate.contract import ROOT, write_contract

CLIENT = ROOT / "clients" / "python"
SERVICE_CONFIG = "src/fanfare_client/service_config.json"


def generate(out: Path) -> None:
    """Write the generated files into the folder out, as they are in clients/python."""
    stubs = out / "gen"
    shutil.rmtree(stubs, ignore_errors=True)
    stubs.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        contract = Path(folder) / "contract.binpb"
        files = write_contract(contract)
        services = [file for file in files if "\nservice " in (ROOT / "protos" / file).read_text()]
        for arguments in (
            [f"--python_out={stubs}", f"--mypy_out=quiet:{stubs}", *files],
            [f"--grpc_python_out={stubs}", f"--mypy_grpc_out=quiet:{stubs}", *services],
        ):
            if protoc.main(["protoc", f"--descriptor_set_in={contract}", *arguments]) != 0:
                sys.exit("protoc or one of its plugins failed; the message above says why")
    (stubs / "fanfare" / "py.typed").touch()
    (out / SERVICE_CONFIG).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "docs" / "service_config.json", out / SERVICE_CONFIG)


if __name__ == "__main__":
    generate(CLIENT)
