"""The option `--json`, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def json_option(text: str = "Print one JSON document, for programs.") -> Callable[[Any], Any]:
    """Return the decorator that adds `--json`, which the command gets as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def print_json(document: object) -> None:
    """Print a document on several lines.

    It is ASCII: no text in it can control the terminal, whatever the encoding of the output.
    """
    click.echo(json.dumps(document, indent=2))


def print_json_line(document: object) -> None:
    """Print a document on one line, also in ASCII."""
    click.echo(json.dumps(document))


def message_json(message: Message) -> dict[str, Any]:
    """Return a message as REST prints it: with the fields' own names, and 64-bit ids as strings."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
