"""Generate clients/typescript/src/gen from the protos: `python -m clients.generate.typescript`.

Run it from the root. protoc comes with grpcio-tools, and its plugin protoc-gen-es with `npm ci` in
clients/typescript.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2
from grpc_tools import protoc

from clients.generate.contract import ROOT, write_contract

CLIENT = ROOT / "clients" / "typescript"
PLUGIN = CLIENT / "node_modules" / ".bin" / "protoc-gen-es"
# No npm package has these: what an error carries, and what the contract imports.
COMMON = (error_details_pb2.DESCRIPTOR, status_pb2.DESCRIPTOR)
# docs/service_config.json, as a module.
SERVICE_CONFIG = "service_config.ts"


def write_typescript_contract(out: Path) -> list[str]:
    """Write the contract and the messages of errors to out; return the files to generate from."""
    own = write_contract(out)
    contract = FileDescriptorSet.FromString(out.read_bytes())
    names = {file.name for file in contract.file}
    for descriptor in COMMON:
        if descriptor.name not in names:
            descriptor.CopyToProto(contract.file.add())
    out.write_bytes(contract.SerializeToString(deterministic=True))
    return [*own, *(descriptor.name for descriptor in COMMON)]


def service_config() -> str:
    """Return the source of the module with the service config."""
    config = (ROOT / "docs" / "service_config.json").read_text().strip()
    return f"// docs/service_config.json of Fanfare.\nexport const serviceConfig = {config};\n"


def generate(out: Path) -> None:
    """Write the generated files into the folder out, as they are in clients/typescript/src/gen."""
    if not PLUGIN.exists():
        sys.exit(f"protoc-gen-es is missing; run `npm ci` in {CLIENT}")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        contract = Path(folder) / "contract.binpb"
        files = write_typescript_contract(contract)
        arguments = [
            "protoc",
            f"--descriptor_set_in={contract}",
            f"--plugin=protoc-gen-es={PLUGIN}",
            f"--es_out={out}",
            "--es_opt=target=ts,import_extension=js",
            *files,
        ]
        if protoc.main(arguments) != 0:
            sys.exit("protoc or its plugin failed; the message above says why")
    (out / SERVICE_CONFIG).write_text(service_config())


if __name__ == "__main__":
    generate(CLIENT / "src" / "gen")
