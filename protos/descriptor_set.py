"""Write the contract as a FileDescriptorSet: `python protos/descriptor_set.py OUT_FILE`.

For proxies and tools that read the contract at run time, such as Envoy's gRPC-JSON transcoder. The
set holds the services, everything they import, and the messages that errors carry as details.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fanfare.auth.v1 import auth_pb2
from fanfare.errors.v1 import errors_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2

_FILES = [
    module.DESCRIPTOR for module in (auth_pb2, errors_pb2, read_pb2, write_pb2, error_details_pb2)
]


def descriptor_set() -> FileDescriptorSet:
    """Return the contract's files, each after the files that it imports."""
    found = FileDescriptorSet()
    seen: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name in seen:
            return
        seen.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        file.CopyToProto(found.file.add())

    for file in _FILES:
        add(file)
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    Path(sys.argv[1]).write_bytes(descriptor_set().SerializeToString())
