"""Reads the comments of the contract, for the documents that are generated from it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import generate
from google.protobuf.descriptor_pb2 import FileDescriptorSet


def leading_comments(protos: Path) -> dict[str, str]:
    """Return the comments of services, methods, messages, fields, enums and values, by full name.

    Line ends and indentation are as in the files, without what marks a line as a comment.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        generate.build_image(protos, image)
        files = FileDescriptorSet.FromString(image.read_bytes())
    found = {}
    for file in files.file:
        for location in file.source_code_info.location:
            if name := _name(file, list(location.path)):
                lines = location.leading_comments.splitlines()
                text = "\n".join(line.removeprefix(" ") for line in lines)
                found[f"{file.package}.{name}"] = text
    return found


def _name(file: Any, path: list[int]) -> str:
    """Return the name, within its package, of the element at a path of source_code_info."""
    name = ""
    match path:
        case [4, message]:
            name = file.message_type[message].name
        case [4, message, 2, field]:
            of = file.message_type[message]
            name = f"{of.name}.{of.field[field].name}"
        case [5, enum]:
            name = file.enum_type[enum].name
        case [5, enum, 2, value]:
            # A value is in the scope of its package, not of its enum.
            name = file.enum_type[enum].value[value].name
        case [6, service]:
            name = file.service[service].name
        case [6, service, 2, method]:
            of = file.service[service]
            name = f"{of.name}.{of.method[method].name}"
    return name
