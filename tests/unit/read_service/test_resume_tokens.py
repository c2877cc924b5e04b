"""Resume tokens."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.feed.opaque_tokens import OpaqueTokenCodec
from core.watch_errors import InvalidResumeTokenError
from read_service.held_tweets import NOTHING, HeldTweets
from read_service.pages import MAX_LIMIT
from read_service.resume_tokens import decode_resume_token, encode_resume_token

USER = 7
IDS = st.lists(st.integers(1, 2**63 - 1), unique=True, max_size=MAX_LIMIT)
# The ids of tweets half a minute apart, as tweet ids of 2026 are.
FIRST_ID, APART = 250_549_006_273_347_585, 30_000 << 22
# Clients may hold resume tokens that an earlier release gave out.
RESUME_TOKENS = {
    "ARRgAfhyuEEB": (),
    "AQUDeiD-ZcAAAR1MAAAABp1QmuZmctM-bLO0KeZfJ1vR": (FIRST_ID, FIRST_ID - APART),
}


def state(ids: list[int]) -> HeldTweets:
    """Return the state of a client that holds tweets with these ids."""
    ordered = sorted(ids, reverse=True)
    return HeldTweets.of(ordered, [b"%d" % id_ for id_ in ordered])


@given(st.integers(1, 2**63 - 1), IDS)
def test_a_token_holds_a_state(user_id: int, ids: list[int]) -> None:
    """Decoding returns the ids and digests that were encoded."""
    held = state(ids)
    assert decode_resume_token(encode_resume_token(user_id, held), user_id) == held


def test_no_token_stands_for_a_client_that_holds_nothing() -> None:
    """It need not be encoded."""
    assert decode_resume_token("", USER) == NOTHING


@pytest.mark.parametrize(("token", "ids"), RESUME_TOKENS.items())
def test_tokens_have_the_bytes_of_earlier_releases(token: str, ids: tuple[int, ...]) -> None:
    """A client goes on with a token of an earlier release."""
    held = state(list(ids))
    assert encode_resume_token(USER, held) == token
    assert decode_resume_token(token, USER) == held


def test_a_token_of_a_full_page_is_short() -> None:
    """Its ids take six bytes each as long as no two of them are a day apart."""
    held = state([FIRST_ID + APART * n for n in range(MAX_LIMIT)])
    assert len(encode_resume_token(USER, held)) < 1500


@given(IDS, st.integers(0), st.integers(0, 7))
def test_a_damaged_token_is_refused(ids: list[int], place: int, bit: int) -> None:
    """So is one with any bit flipped."""
    token = encode_resume_token(USER, state(ids))
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[place % len(raw)] ^= 1 << bit
    damaged = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    with pytest.raises(InvalidResumeTokenError):
        decode_resume_token(damaged, USER)


@given(st.text(min_size=1, max_size=2000))
def test_a_text_that_is_no_token_is_refused(token: str) -> None:
    """Whatever it is."""
    with pytest.raises(InvalidResumeTokenError):
        decode_resume_token(token, USER)


def test_a_foreign_token_is_refused() -> None:
    """A token is of one user."""
    with pytest.raises(InvalidResumeTokenError):
        decode_resume_token(encode_resume_token(USER, state([5, 3])), USER + 1)


@given(st.binary(max_size=200))
def test_content_that_the_server_never_packs_is_refused_or_a_state(packed: bytes) -> None:
    """Anybody can compute the digest of a token, and gets no further than any client."""
    codec = OpaqueTokenCodec(version=1, values=f"{len(packed)}s", digest_size=8)
    token = codec.encode(packed, bound_to=("WatchHomeTimeline", USER))
    try:
        held = decode_resume_token(token, USER)
    except InvalidResumeTokenError:
        return
    assert len(held.ids) <= MAX_LIMIT
    assert list(held.ids) == sorted(set(held.ids), reverse=True)
    assert len(held.by_id()) == len(held.ids)
