"""Page tokens and page sizes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidPageTokenError
from read_service.pages import decode_page_token, encode_page_token, page_size

# Clients may hold page tokens that an earlier release gave out.
PAGE_TOKENS = {
    "AQAAAAAAAAAAJO8SNq3-n_8": ("ListUsers", 0, 0),
    "AREiEPR96YEVe4VyncT2Oj0": ("GetHomeTimeline", 7, 1234567890123456789),
    "AX__________mHZCD0WdmkY": ("ListFollowers", 2**63 - 1, 2**63 - 1),
}


def test_page_sizes() -> None:
    """0 is 20, and above 100 is served as 100."""
    assert [page_size(n) for n in (0, 1, 100, 101, 2**31 - 1)] == [20, 1, 100, 100, 100]


@pytest.mark.parametrize(("token", "belongs_to"), PAGE_TOKENS.items())
def test_page_tokens_have_the_bytes_of_earlier_releases(
    token: str, belongs_to: tuple[str, int, int]
) -> None:
    """A page token that an earlier release gave out leads to the same page."""
    method, user_id, position = belongs_to
    assert decode_page_token(token, method, user_id) == position
    assert encode_page_token(method, user_id, position) == token


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_page_token_holds_its_position(user_id: int, position: int) -> None:
    """Decoding returns the position that was encoded, whatever it is."""
    token = encode_page_token("GetHomeTimeline", user_id, position)
    assert decode_page_token(token, "GetHomeTimeline", user_id) == position


@pytest.mark.parametrize(("method", "user_id"), [("ListFollowing", 7), ("ListFollowers", 8)])
def test_a_foreign_page_token_is_refused(method: str, user_id: int) -> None:
    """A page token is accepted only for the method and the user that it belongs to."""
    token = encode_page_token("ListFollowers", 7, 123)
    with pytest.raises(InvalidPageTokenError):
        decode_page_token(token, method, user_id)


@given(st.integers(0, 16 * 8), st.data())
def test_a_damaged_page_token_is_refused(bit: int, data: st.DataObject) -> None:
    """A page token with any single bit flipped is refused."""
    token = encode_page_token("ListUsers", 0, data.draw(st.integers(0, 2**63 - 1)))
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[bit // 8] ^= 1 << bit % 8
    damaged = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    with pytest.raises(InvalidPageTokenError):
        decode_page_token(damaged, "ListUsers", 0)


@given(st.text(max_size=40))
def test_any_other_text_is_refused(text: str) -> None:
    """A text that is no page token raises InvalidPageTokenError and nothing else."""
    with pytest.raises(InvalidPageTokenError):
        decode_page_token(text, "ListUsers", 0)
