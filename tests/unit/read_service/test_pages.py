"""Page tokens and page sizes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidPageTokenError
from read_service.pages import decode_page_token, encode_page_token, page_size


def test_page_sizes() -> None:
    """0 is 20, and above 100 is served as 100."""
    assert [page_size(n) for n in (0, 1, 100, 101, 2**31 - 1)] == [20, 1, 100, 100, 100]


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_token_says_its_position(user_id: int, position: int) -> None:
    """A token given out is understood, whatever the position."""
    token = encode_page_token("GetHomeTimeline", user_id, position)
    assert decode_page_token(token, "GetHomeTimeline", user_id) == position


@pytest.mark.parametrize(("method", "user_id"), [("ListFollowing", 7), ("ListFollowers", 8)])
def test_a_foreign_token_is_refused(method: str, user_id: int) -> None:
    """A token is good only for the method and the user it was given out for."""
    token = encode_page_token("ListFollowers", 7, 123)
    with pytest.raises(InvalidPageTokenError):
        decode_page_token(token, method, user_id)


@given(st.integers(0, 16 * 8), st.data())
def test_a_mangled_token_is_refused(bit: int, data: st.DataObject) -> None:
    """No flipped bit yields another position."""
    token = encode_page_token("ListUsers", 0, data.draw(st.integers(0, 2**63 - 1)))
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[bit // 8] ^= 1 << bit % 8
    mangled = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    with pytest.raises(InvalidPageTokenError):
        decode_page_token(mangled, "ListUsers", 0)


@given(st.text(max_size=40))
def test_no_text_is_a_token_by_chance(text: str) -> None:
    """Anything else is refused, and never breaks the service."""
    with pytest.raises(InvalidPageTokenError):
        decode_page_token(text, "ListUsers", 0)
