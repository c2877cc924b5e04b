"""Builds the request message of a method from the path, query and body of an HTTP request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, NoReturn

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from core.errors import InvalidRequestError, MalformedRequestError
from gateway.integers import INTEGER_BITS, exact_integer, integer_converter
from gateway.routes import Route

_DECIMAL = re.compile("-?[0-9]{1,19}")
_LONGEST_REASON = 300
# No method takes a longer list. The contract has a lower limit for some lists.
MAX_ITEMS = 1000
# The contract's messages need three levels. The parsers are recursive, and fail somewhere deeper.
MAX_NESTING = 32
# A list or object of n values has n - 1 commas. The longest batch of the contract has some 3,000.
# Without this limit, json could spend seconds on one body.
MAX_COMMAS = 10_000
# Commas inside JSON strings do not count towards MAX_COMMAS, but finding strings takes time too. A
# body with more commas or more quotes than this is refused without searching it. The longest batch
# has fewer of both, even if its 1,000 texts of 280 characters consist of them.
_MAX_IN_TEXTS = 400_000
# A JSON string. It may lack its end, so that the search tries no part of the body twice.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_TOO_DEEP = f"the body is nested deeper than {MAX_NESTING} levels"


def excerpt(text: str) -> str:
    """Return the start of a client's text in quotes, with every special character escaped."""
    return repr(text[:80])


class RequestReader:
    """Reads the requests of one route."""

    def __init__(self, route: Route) -> None:
        """Prepare to read requests.

        Raises:
            ValueError: a field of the path or the query has a type that they cannot hold.
            KeyError: a variable of the path is not a field.
        """
        descriptor = route.method.input_type
        self._class = GetMessageClass(descriptor)
        self._name = descriptor.name
        self._has_body = route.has_body
        fields = descriptor.fields_by_name
        self._path = [_Field(fields[name]) for name in route.variables]
        self._names = [(field.name, field.json_name) for field in descriptor.fields]
        self._convert_integers = integer_converter(descriptor)
        self._query = {
            field.name: _Field(field)
            for field in descriptor.fields
            if not route.has_body and field.name not in route.variables
        }

    def read(
        self, path: Mapping[str, str], query: Iterable[tuple[str, str]], body: bytes
    ) -> Message:
        """Return the request message.

        Args:
            path: the values of the route's path variables, by field name.
            query: the query parameters, in order.
            body: the HTTP body; b"" if there is none.

        Raises:
            MalformedRequestError: the body or the query cannot be read as the request message.
            InvalidRequestError: a value in the path or the query does not fit its field, the path
                and the body contradict each other, or a list has more than MAX_ITEMS items.
        """
        message = self._class()
        document: dict[str, Any] = {}
        if self._has_body:
            document = _parse(body)
            self._fill(message, document)
        elif body:
            raise MalformedRequestError("this method takes no body: send the request without one")
        for field in self._path:
            value = field.convert(path[field.name])
            if document and field.is_in(document) and getattr(message, field.name) != value:
                raise InvalidRequestError([(field.name, "must be the same in path and body")])
            setattr(message, field.name, value)
        self._add_query(message, query)
        return message

    def _fill(self, message: Message, document: dict[str, Any]) -> None:
        for names in self._names:
            for value in map(document.get, names):
                # protobuf would take seconds to build a message from millions of items.
                if isinstance(value, list) and len(value) > MAX_ITEMS:
                    raise InvalidRequestError([(names[0], f"must have at most {MAX_ITEMS} items")])
        self._convert_integers(document)
        try:
            json_format.ParseDict(document, message)
        except json_format.ParseError as error:
            # The first line has the reason. The others only describe protobuf's Python objects.
            reason = str(error).splitlines()[0][:_LONGEST_REASON].rstrip(".")
            raise MalformedRequestError(f"the body is not a {self._name}: {reason}") from None

    def _add_query(self, message: Message, query: Iterable[tuple[str, str]]) -> None:
        seen = set()
        for name, text in query:
            field = self._query.get(name)
            if field is None:
                known = ", ".join(self._query) or "none"
                raise MalformedRequestError(
                    f"unknown query parameter {excerpt(name)}; this path has: {known}"
                )
            value = field.convert(text)
            if field.repeated:
                getattr(message, name).append(value)
            elif name in seen:
                raise InvalidRequestError([(name, "must be given once")])
            else:
                setattr(message, name, value)
            seen.add(name)


class _Field:
    """A field that the path or the query may set."""

    def __init__(self, field: FieldDescriptor) -> None:
        self.name = field.name
        self.repeated = field.is_repeated
        self._names = (field.name, field.json_name)
        self._convert: Callable[[str], int | str]
        if field.type == FieldDescriptor.TYPE_STRING:
            self._convert = _text
        elif field.type in INTEGER_BITS:
            self._convert = _integer(INTEGER_BITS[field.type])
        else:
            raise ValueError(f"{field.full_name} has a type that a path or a query cannot hold")

    def is_in(self, document: dict[str, Any]) -> bool:
        """Return whether a JSON object sets this field, under its proto name or its JSON name."""
        return any(document.get(name) is not None for name in self._names)

    def convert(self, text: str) -> int | str:
        """Return the text as the field's value; raise InvalidRequestError if it does not fit."""
        try:
            return self._convert(text)
        except ValueError as error:
            raise InvalidRequestError([(self.name, f"{error}, not {excerpt(text)}")]) from None


def _integer(bits: int) -> Callable[[str], int]:
    limit = 1 << (bits - 1)

    def convert(text: str) -> int:
        # int() also accepts "+1", "1_0", " 1" and the digits of other scripts.
        if _DECIMAL.fullmatch(text) and -limit <= (number := int(text)) < limit:
            return number
        raise ValueError(f"must be a decimal number of {bits} bits")

    return convert


def _text(text: str) -> str:
    # JSON escapes can produce lone surrogates, for which protobuf raises a SystemError.
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8") from None
    return text


def _parse(body: bytes) -> dict[str, Any]:
    if not body:
        raise MalformedRequestError("the body is empty: send a JSON object")
    if _has_too_many_commas(body):
        raise MalformedRequestError(f"the body has more than {MAX_COMMAS} values: send fewer")
    try:
        document = json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_float=_number,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise MalformedRequestError(_TOO_DEEP) from None
    except ValueError as error:
        reason = str(error)[:_LONGEST_REASON]
        raise MalformedRequestError(f"the body is not JSON: {reason}") from None
    if not isinstance(document, dict):
        raise MalformedRequestError("the body is JSON, but not an object: send {…}")
    # Counting brackets is cheap, and shows for most bodies that they cannot be nested too deep.
    if body.count(b"{") + body.count(b"[") > MAX_NESTING and _is_too_deep(document):
        raise MalformedRequestError(_TOO_DEEP)
    return document


def _number(text: str) -> int:
    # Called for numbers with a fraction or an exponent. No field of the contract takes a fraction.
    try:
        return exact_integer(text)
    except ValueError as error:
        raise MalformedRequestError(f"the number {text[:40]} {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _has_too_many_commas(body: bytes) -> bool:
    count = body.count(b",")
    if count <= MAX_COMMAS:
        return False
    if max(count, body.count(b'"')) > _MAX_IN_TEXTS:
        return True
    return _STRING.sub(b"", body).count(b",") > MAX_COMMAS


def _is_too_deep(document: dict[str, Any]) -> bool:
    level: list[Any] = [document]
    for _ in range(MAX_NESTING):
        values = (each.values() if isinstance(each, dict) else each for each in level)
        level = [value for value in chain.from_iterable(values) if isinstance(value, dict | list)]
    return bool(level)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # user_id and userId name the same field, and json_format silently takes the later one.
    seen = set()
    for key, _ in pairs:
        _text(key)
        name = key.replace("_", "").lower()
        if name in seen:
            raise ValueError(f"an object has the key {excerpt(key)} twice")
        seen.add(name)
    return dict(pairs)
