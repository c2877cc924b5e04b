"""Reads the integers of a JSON body exactly.

proto3 JSON allows 1.0 and 1e3 for an integer, as a number or as a string. The parsers of json and
json_format turn both into floating-point numbers first, which would change an id above 2**53 into
the id of somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from core.errors import InvalidRequestError

INTEGER_BITS = {FieldDescriptor.TYPE_INT32: 32, FieldDescriptor.TYPE_INT64: 64}
_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
# No integer of 64 bits needs more digits, so that no exponent can ask for millions of them.
_MAX_ZEROS = 19
_LONGEST_NUMBER = 100

Converter = Callable[[Any], None]


def exact_integer(text: str) -> int:
    """Return the integer that a JSON number stands for.

    Raises:
        ValueError: the text is not a number, is not an integer, or is too long for any field.
    """
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if match is None:
        raise ValueError("must be an integer in decimal digits")
    sign, whole, fraction, exponent = match.groups(default="")
    digits = whole + fraction
    if not digits.strip("0"):
        return 0
    zeros = int(exponent or 0) - len(fraction)
    if zeros > _MAX_ZEROS:
        raise ValueError("must be an integer of at most 64 bits")
    if zeros < 0:
        digits, rest = digits[:zeros], digits[zeros:]
        if rest.strip("0"):
            raise ValueError("must be an integer, without a fraction")
    return int(sign + digits + "0" * zeros)


def integer_converter(descriptor: Descriptor) -> Converter:
    """Return a function that makes integers of the strings in a JSON object's integer fields.

    What json_format reads or refuses rightly stays as it is. The function raises
    InvalidRequestError with the name of a field whose string is not an exact integer.
    """
    integers = [
        name
        for field in descriptor.fields
        if field.type in INTEGER_BITS
        for name in {field.name, field.json_name}
    ]
    nested = [
        (name, integer_converter(field.message_type))
        for field in descriptor.fields
        if field.message_type is not None
        for name in {field.name, field.json_name}
    ]

    def convert(document: Any) -> None:
        if not isinstance(document, dict):
            return
        for name in integers:
            value = document.get(name)
            if isinstance(value, str):
                document[name] = _convert(name, value)
            elif isinstance(value, list):
                document[name] = [
                    _convert(name, item) if isinstance(item, str) else item for item in value
                ]
        for name, convert_nested in nested:
            value = document.get(name)
            for item in value if isinstance(value, list) else [value]:
                convert_nested(item)

    return convert


def _convert(name: str, text: str) -> int | str:
    if text.isascii() and text.isdigit():
        return text  # what almost all are, and json_format reads exactly
    try:
        return exact_integer(text)
    except ValueError as error:
        raise InvalidRequestError([(name, str(error))]) from None
