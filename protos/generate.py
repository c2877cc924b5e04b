"""Generate the Python code in gen/ from protos/: `python protos/generate.py OUT_DIR`.

Nothing is downloaded. protoc comes with the pinned package grpcio-tools, the files in google/ with
googleapis-common-protos, and the descriptor of buf/validate with protovalidate.
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
        sys.exit(f"the package {name} is missing; run `make gen`, which installs it")
    return Path(next(iter(spec.submodule_search_locations)))


def _protoc(*arguments: str) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        sys.exit("protoc rejected the contract; its message above names the line")


def _dependencies(folder: Path) -> Path:
    """Write one descriptor set with everything that the contract imports; return its path.

    protovalidate has only the descriptor of buf/validate/validate.proto, not the file itself. So
    protoc can read that import only from a descriptor set, and then it has to read all imports from
    there.
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
    """Write the contract to out as an image that `buf` can check, with comments and imports."""
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
    """Replace the folder out with the generated Python code and its type stubs."""
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
