"""The codec of consistency tokens and page tokens."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidConsistencyTokenError
from core.feed.consistency_tokens import decode_token, encode_token
from core.feed.history import Lsn, Moment
from core.feed.opaque_tokens import OpaqueTokenCodec

CODEC = OpaqueTokenCodec(version=1, values="qQ", digest_size=4)
# Clients may hold tokens that an earlier release gave out.
CONSISTENCY_TOKENS = {
    "AgDA_-5CAAAAAAAAAADhqMIf": Moment("00c0ffee42", Lsn(0)),
    "AgDA_-5CAAAAAAdbzRUiax0U": Moment("00c0ffee42", Lsn(123_456_789)),
    "Av________________-Zk1va": Moment("ffffffffff", Lsn(2**64 - 1)),
}


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1), st.text(), st.integers())
def test_a_token_holds_its_values(first: int, second: int, method: str, user_id: int) -> None:
    """Decoding returns what was encoded, and a token has only characters that are safe in URLs."""
    method = method.encode(errors="replace").decode()
    token = CODEC.encode(first, second, bound_to=(method, user_id))
    assert CODEC.decode(token, bound_to=(method, user_id)) == (first, second)
    assert token.replace("-", "").replace("_", "").isalnum()


@given(st.integers(0, 21 * 8 - 1), st.integers(0, 2**63 - 1))
def test_a_damaged_token_is_refused(bit: int, value: int) -> None:
    """A token with any single bit flipped is refused."""
    token = CODEC.encode(value, 1)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[bit // 8] ^= 1 << bit % 8
    damaged = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    with pytest.raises(ValueError, match="another version or digest"):
        CODEC.decode(damaged)


@given(st.text(max_size=40))
def test_any_other_text_is_refused(text: str) -> None:
    """Decoding a text that is not a token raises ValueError and nothing else."""
    with pytest.raises(ValueError, match=r".*"):
        CODEC.decode(text)


def test_a_token_is_good_only_where_it_belongs() -> None:
    """A token is refused by another version of the codec, and if bound_to differs."""
    token = CODEC.encode(1, 2, bound_to=("ListUsers",))
    for codec, bound_to in (
        (OpaqueTokenCodec(version=2, values="qQ", digest_size=4), ("ListUsers",)),
        (CODEC, ("ListFollowers",)),
        (CODEC, ()),
    ):
        with pytest.raises(ValueError, match="another version or digest"):
            codec.decode(token, bound_to)


@pytest.mark.parametrize(("token", "moment"), CONSISTENCY_TOKENS.items())
def test_consistency_tokens_have_the_bytes_of_earlier_releases(token: str, moment: Moment) -> None:
    """A consistency token that an earlier release gave out is read as before."""
    assert decode_token(token) == moment
    assert encode_token(moment) == token


def test_a_consistency_token_is_optional_but_not_arbitrary() -> None:
    """The empty token names no moment, and a truncated or altered token is refused."""
    assert decode_token("") is None
    for token in ("AgDA_-5CAAAAAAAAAADhqMI", "AgDA_-5CAAAAAAAAAADhqMIg", "x", "\u00e9"):
        with pytest.raises(InvalidConsistencyTokenError):
            decode_token(token)
