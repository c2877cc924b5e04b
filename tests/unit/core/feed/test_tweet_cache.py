"""The entries of the tweet cache."""

from __future__ import annotations

from core.feed.keys import Keys
from core.feed.tweet_cache import (
    DELETED,
    decode_entry,
    encode_entry,
    encode_lease,
    is_lease,
    tweet_id_of,
)


def test_an_entry_holds_its_tweet() -> None:
    """Decoding returns the tweet, even if its bytes look like a deletion or a lease."""
    assert encode_entry(12, b"D:L") == b"12:D:L"
    assert decode_entry(encode_entry(12, b"D:L")) == b"D:L"
    assert decode_entry(DELETED) is None


def test_only_leases_are_leases() -> None:
    """Neither a tweet nor a deletion is taken for a lease."""
    assert is_lease(encode_lease("token"))
    assert not is_lease(encode_entry(1, b"L"))
    assert not is_lease(DELETED)


def test_a_key_names_its_tweet() -> None:
    """The id can be read from a key, such as one that Redis reports as changed."""
    assert tweet_id_of(Keys.of("a:b:", "0123456789").tweet(2**62).encode()) == 2**62
