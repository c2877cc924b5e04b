"""Generate gen/ from protos/, and the image that buf checks: `python protos/generate.py OUT_DIR`.

Everything comes from pinned packages and nothing from the network: grpcio-tools brings protoc,
googleapis-common-protos the google/ files, and protovalidate the descriptor of buf/validate.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

PROTOS = Path(__file__).resolve().parent
VALIDATE = "buf/validate/validate.proto"


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"The package {name} is missing: run `make gen`, which installs it.")
    return Path(next(iter(spec.submodule_search_locations)))


def _protoc(*arguments: str) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        sys.exit("protoc refused the contract; its message above names the line.")


def _dependencies(folder: Path) -> Path:
    """Write all imports of the contract, buf/validate among them, as one descriptor set.

    protovalidate 2 ships no validate.proto, only its descriptor, so protoc must take the imports
    as descriptors, all of them: it cannot mix a descriptor set with a source path for one file.
    """
    google = folder / "google.binpb"
    site = _package_folder("google.api").parent.parent
    well_known = _package_folder("grpc_tools") / "_proto"
    _protoc(
        f"--proto_path={site}",
        f"--proto_path={well_known}",
        "--include_imports",
        f"--descriptor_set_out={google}",
        "google/api/annotations.proto",
        "google/rpc/status.proto",
        "google/rpc/error_details.proto",
        "google/protobuf/descriptor.proto",
        "google/protobuf/duration.proto",
        "google/protobuf/field_mask.proto",
        "google/protobuf/timestamp.proto",
    )
    files = FileDescriptorSet.FromString(google.read_bytes())
    files.file.append(FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary()))
    everything = folder / "imports.binpb"
    everything.write_bytes(files.SerializeToString())
    return everything


def build_image(protos: Path, out: Path) -> None:
    """Write the contract in protos, with comments and imports, as an image for `buf` to out."""
    sources = sorted(str(p.relative_to(protos)) for p in protos.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        _protoc(
            f"--descriptor_set_in={_dependencies(Path(folder))}",
            f"--proto_path={protos}",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={out}",
            *sources,
        )


def generate(out: Path) -> None:
    """Replace out with the Python stubs, their type stubs, and those of buf/validate."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    sources = sorted(str(p.relative_to(PROTOS)) for p in PROTOS.rglob("*.proto"))
    services = [s for s in sources if "\nservice " in (PROTOS / s).read_text()]
    with tempfile.TemporaryDirectory() as folder:
        imports = f"--descriptor_set_in={_dependencies(Path(folder))}"
        path = f"--proto_path={PROTOS}"
        _protoc(imports, path, f"--python_out={out}", f"--mypy_out=quiet:{out}", *sources)
        _protoc(
            imports, path, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *services
        )
        _protoc(imports, f"--python_out={out}", f"--mypy_out=quiet:{out}", VALIDATE)


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
