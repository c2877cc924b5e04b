"""Checks requests against the protovalidate rules of the contract."""

from __future__ import annotations

import protovalidate
from google.protobuf.message import Message

from core.errors import InvalidRequestError

# For a larger request only the first violation is reported: finding a million would take minutes.
DETAILED_BYTES = 2048
# More violations than this would not fit into gRPC's trailing metadata.
MAX_VIOLATIONS = 20


def violations(message: Message, *, only_first: bool = False) -> list[tuple[str, str]]:
    """Return the violations of rules, as pairs of the field's path and what the field must be.

    Args:
        message: the request to check.
        only_first: whether to stop at the first violation instead of at MAX_VIOLATIONS.
    """
    found = []
    broken = protovalidate.collect_violations(message, fail_fast=only_first)
    for violation in broken[:MAX_VIOLATIONS]:
        elements = violation.proto.field.elements if violation.proto.field else []
        path = ".".join(
            f"{e.field_name}[{e.subscript.value}]" if e.subscript else e.field_name
            for e in elements
        )
        found.append((path, violation.proto.message or violation.proto.rule_id))
    return found


def validate(message: Message, size: int) -> None:
    """Check a request.

    Args:
        message: the request.
        size: how many bytes its serialised form has.

    Raises:
        InvalidRequestError: the request breaks at least one rule.
    """
    if found := violations(message, only_first=size > DETAILED_BYTES):
        raise InvalidRequestError(found)
