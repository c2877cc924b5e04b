"""The envelopes of Connect's streams and of gRPC-Web."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MalformedRequestError, UnsupportedEncodingError
from gateway.envelopes import ENVELOPE_BYTES, envelope, only_message


@given(st.binary())
def test_a_message_comes_out_of_its_envelope(message: bytes) -> None:
    """A message may be empty, which is not the same as no message."""
    body = envelope(message)
    assert len(body) == len(message) + ENVELOPE_BYTES
    assert only_message(body) == message


def test_the_envelope_is_that_of_the_specification() -> None:
    """A byte of flags, and the length in four bytes, the highest first."""
    assert envelope(b"abc", 0x80) == b"\x80\x00\x00\x00\x03abc"


@pytest.mark.parametrize("body", [b"", envelope(b"a") + envelope(b"b"), envelope(b"a") + b"b"])
def test_not_exactly_one_message_is_unimplemented(body: bytes) -> None:
    """GRPC has this code for streams that the method does not have."""
    with pytest.raises(UnsupportedEncodingError, match="exactly one"):
        only_message(body)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"\x00", "ends within its envelope"),
        (b"\x00\x00\x00\x00", "ends within its envelope"),
        (b"\x00\x00\x00\x00\x02a", "says 2 bytes, but 1 follow"),
        (b"\x00\xff\xff\xff\xff" + b"a" * 100, "says 4294967295 bytes"),
        (envelope(b"a", 1), "compressed"),
        (envelope(b"a", 2), "flags 2"),
        (envelope(b"a", 0x80), "flags 128"),
    ],
)
def test_a_broken_envelope_is_malformed(body: bytes, problem: str) -> None:
    """The length is what the client says, so nothing is allocated for it."""
    with pytest.raises(MalformedRequestError, match=problem):
        only_message(body)
