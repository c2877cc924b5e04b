"""The integers of a JSON body: exact, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, localcontext

import pytest
from fanfare.write.v1 import write_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from helpers.grpc_server import READ, WRITE
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequestError, MalformedRequestError
from gateway.integers import exact_integer
from gateway.requests import RequestReader
from gateway.routes import routes

BEYOND_FLOAT = 2**53 + 1
IDS = st.integers(-(2**63), 2**63 - 1) | st.integers(2**53, 2**53 + 9)
CREATE = RequestReader(next(route for route in routes(WRITE) if route.path == "/tweets"))
BATCH = RequestReader(next(route for route in routes(WRITE) if route.path == "/tweets:batchCreate"))
GET = RequestReader(
    next(r for r in routes(READ) if r.path == "/tweets:batchGet" and r.verb == "POST")
)


@st.composite
def _spellings(draw: st.DrawFn) -> tuple[int, str]:
    """Return an integer and a JSON number that stands for it, with a fraction or an exponent."""
    number = draw(IDS)
    zeros = "0" * draw(st.integers(0, 5))
    shift = draw(st.integers(0, 25))
    plain = draw(st.booleans())
    text = f"{number}.{zeros}" if zeros else str(number)
    if plain:
        return number, text
    with localcontext(prec=100):
        scaled = Decimal(number).scaleb(-shift)
    return number, f"{scaled:f}e{shift}"


@given(_spellings())
def test_every_spelling_of_an_integer_is_read_exactly(spelling: tuple[int, str]) -> None:
    """A fraction of zeros and an exponent change nothing, as a number and as a string."""
    number, text = spelling
    assert exact_integer(text) == number
    for value in (text, json.dumps(text)):
        message = CREATE.read({}, [], f'{{"user_id": {value}}}'.encode())
        assert message == write_pb2.CreateTweetRequest(user_id=number)


@given(st.floats() | st.decimals() | st.integers() | st.text("0123456789.eE+-_ ", max_size=12))
def test_what_is_read_is_never_another_number(value: object) -> None:
    """A text is read as the integer that it stands for, or refused."""
    try:
        number = exact_integer(str(value))
    except ValueError:
        return
    assert Decimal(str(value)) == number


@pytest.mark.parametrize(
    "text",
    [
        "1.5",
        "1e-1",
        "-0.1",
        "1e400",
        "1e999999999",
        "-1e999999999999999999999999999999",
        "1e-999999999",
        f"{BEYOND_FLOAT}.5",
        f"{2**63}.0",
        f"{2**64}",
        "1." + "0" * 100_000,
        "1" * 100_000 + "e1",
    ],
)
def test_a_number_that_no_field_holds_is_refused(text: str) -> None:
    """It is not rounded, and a huge exponent costs nothing."""
    for value in (text, json.dumps(text)):
        for body, reader in (
            ('{"user_id": %s}', CREATE),
            ('{"requests": [{"user_id": %s}]}', BATCH),
            ('{"tweet_ids": [1, %s]}', GET),
        ):
            with pytest.raises((MalformedRequestError, InvalidRequestError)):
                reader.read({}, [], (body % value).encode())


@pytest.mark.parametrize("text", ["", " 1", "1 ", "1_0", "+1", "0x1", "\u0661", "NaN", "Infinity"])
def test_a_string_that_is_no_json_number_is_refused(text: str) -> None:
    """int() would accept some of these."""
    with pytest.raises(InvalidRequestError, match="user_id: must be an integer"):
        CREATE.read({}, [], json.dumps({"user_id": text}).encode())


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_are_not_json_are_refused(constant: str) -> None:
    """Python's parser would accept them."""
    with pytest.raises(MalformedRequestError, match="is not a JSON number"):
        CREATE.read({}, [], f'{{"user_id": {constant}}}'.encode())


def test_json_format_still_rounds() -> None:
    """If this fails, protobuf reads strings exactly, and gateway/integers.py may be smaller."""
    message = json_format.ParseDict(
        {"user_id": f"{BEYOND_FLOAT}.0"}, write_pb2.CreateTweetRequest()
    )
    assert message.user_id == BEYOND_FLOAT - 1


def _fields(descriptor: Descriptor) -> Iterator[FieldDescriptor]:
    for field in descriptor.fields:
        yield field
        if field.message_type is not None:
            yield from _fields(field.message_type)


def test_no_request_has_a_field_for_fractions_or_other_integers() -> None:
    """Every JSON number is read as an integer of 32 or 64 bits, and these types would need more."""
    scalars = {
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_MESSAGE,
    }
    for service in (READ, WRITE):
        for method in service.methods:
            assert {field.type for field in _fields(method.input_type)} <= scalars
