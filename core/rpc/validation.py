"""Checks requests against the protovalidate rules of the contract."""

from __future__ import annotations

from functools import cache, lru_cache, partial

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from core.errors import InvalidRequestError

# For a larger request only the first violation is reported: finding a million would take minutes.
DETAILED_BYTES = 2048
# More violations than this would not fit into gRPC's trailing metadata.
MAX_VIOLATIONS = 20
# Clients ask for the same pages again and again, and to apply the rules costs more than all else in
# the handler. The rules depend on nothing but the request, so what was valid once is valid again.
# Only requests this short, and without any text, are remembered: a text may be a password.
REMEMBERED_BYTES = 64
REMEMBERED_REQUESTS = 10_000
_NUMBERS = {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_BOOL}


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
    if size <= REMEMBERED_BYTES and not _has_more_than_numbers(message):
        # mypy takes the class for a message, which has no hash.
        _check_once(type(message), message.SerializeToString())  # type: ignore[arg-type]
    else:
        _check(message, size)


@lru_cache(maxsize=REMEMBERED_REQUESTS)
def _check_once(message_class: type[Message], serialised: bytes) -> None:
    """Check a request, unless it was found valid before and is remembered."""
    _check(message_class.FromString(serialised), len(serialised))


def _check(message: Message, size: int) -> None:
    if found := violations(message, only_first=size > DETAILED_BYTES):
        raise InvalidRequestError(found)


def _has_more_than_numbers(message: Message) -> bool:
    return any(map(partial(getattr, message), _others(message.DESCRIPTOR)))


@cache
def _others(descriptor: Descriptor) -> tuple[str, ...]:
    """Return the fields that hold texts, bytes or messages. A message counts as set."""
    return tuple(field.name for field in descriptor.fields if field.type not in _NUMBERS)
