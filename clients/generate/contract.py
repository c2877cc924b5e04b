"""The contract as the generators of client code read it: without the options of the servers.

The protos carry options that only the servers obey: validation rules (buf.validate), REST paths
(google.api) and access rules. A generator would make code that imports a package for each of them,
and registers it at run time. So these options and their imports are removed, and the
clients depend on nothing but protobuf, gRPC and google.rpc. Options of protobuf itself stay, such
as go_package and idempotency_level, and so do all comments.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "protos"))
import generate  # noqa: E402 - the generator of gen/, a script beside the protos

# What only options refer to.
SERVER_ONLY = ("buf/validate/", "google/api/", "fanfare/auth/v1/access.proto")


def write_contract(out: Path) -> list[str]:
    """Write the contract to out, as a FileDescriptorSet with its imports.

    Returns:
        The names of Fanfare's own files in it, from which client code is generated.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        generate.build_image(ROOT / "protos", image)
        files = FileDescriptorSet.FromString(image.read_bytes()).file
    kept = [file for file in files if not file.name.startswith(SERVER_ONLY)]
    own = [file for file in kept if file.name.startswith("fanfare/")]
    for file in own:
        dependencies = [name for name in file.dependency if not name.startswith(SERVER_ONLY)]
        file.dependency[:] = dependencies
        for described in _all_in(file):
            _remove_foreign_options(described)
    out.write_bytes(FileDescriptorSet(file=kept).SerializeToString(deterministic=True))
    return [file.name for file in own]


def _all_in(file: FileDescriptorProto) -> Iterator[Any]:
    """Yield the descriptors of a file that may have options."""
    yield file
    for service in file.service:
        yield service
        yield from service.method
    for message in file.message_type:
        yield from _all_in_message(message)
    for enum in file.enum_type:
        yield enum
        yield from enum.value


def _all_in_message(message: DescriptorProto) -> Iterator[Any]:
    yield message
    yield from message.field
    yield from message.oneof_decl
    for enum in message.enum_type:
        yield enum
        yield from enum.value
    for nested in message.nested_type:
        yield from _all_in_message(nested)


def _remove_foreign_options(described: Any) -> None:
    """Remove the options that protobuf itself does not define."""
    options = described.options
    for field, _ in options.ListFields():
        if field.is_extension:
            options.ClearExtension(field)
    options.DiscardUnknownFields()
    if not options.ListFields():
        described.ClearField("options")
