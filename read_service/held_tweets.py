"""What the client of a watch holds, and which events turn it into another state.

The server keeps no events. It keeps what the client holds, as ids with a short digest of each
tweet, and compares it with the newest tweets whenever it is told that these may have changed.
However long a client was away, or slow, the difference is at most a page.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import neg

# An edit goes unnoticed if the digest stays the same: one of 10^12 does.
DIGEST_BYTES = 5


@dataclass(frozen=True, slots=True)
class HeldTweets:
    """Ids of tweets, newest first, and the digest of each."""

    ids: tuple[int, ...] = ()
    digests: bytes = b""
    """The digests, DIGEST_BYTES each, in the order of the ids."""

    @classmethod
    def of(cls, ids: Sequence[int], tweets: Sequence[bytes]) -> HeldTweets:
        """Return what a client holds that was sent these tweets.

        Args:
            ids: the ids, newest first.
            tweets: the serialised tweet of each.
        """
        return cls(tuple(ids), b"".join(map(_digest, tweets)))

    def by_id(self) -> dict[int, bytes]:
        """Return the digests by id."""
        digests, size = self.digests, DIGEST_BYTES
        return {id_: digests[at * size : (at + 1) * size] for at, id_ in enumerate(self.ids)}


NOTHING = HeldTweets()


@dataclass(frozen=True, slots=True)
class Removed:
    """The client takes a tweet out."""

    tweet_id: int


@dataclass(frozen=True, slots=True)
class Put:
    """The client puts a tweet in, in place of one with the same id."""

    at: int
    """The place of the tweet in the state that the client is brought to."""


@dataclass(frozen=True, slots=True)
class Emptied:
    """The client takes all tweets out."""


Step = Removed | Put | Emptied


def steps(held: HeldTweets, wanted: HeldTweets, limit: int) -> Iterator[tuple[Step, HeldTweets]]:
    """Yield what brings a client to another state, each step with the state after it.

    Removals come first, then tweets, oldest first. If that were more than limit steps, all tweets
    are taken out and put in instead.
    """
    old, new = held.by_id(), wanted.by_id()
    removed = [id_ for id_ in held.ids if id_ not in new]
    places = [at for at, id_ in enumerate(wanted.ids) if old.get(id_) != new[id_]]
    if len(removed) + len(places) > limit:
        old, removed, places = {}, [], [*range(len(wanted.ids))]
        yield Emptied(), NOTHING
    ids = [id_ for id_ in held.ids if id_ in old]
    for id_ in removed:
        ids.remove(id_)
        yield Removed(id_), _state(ids, old)
    for at in reversed(places):
        id_ = wanted.ids[at]
        if id_ not in old:
            ids.insert(bisect_left(ids, -id_, key=neg), id_)
        old[id_] = new[id_]
        yield Put(at), _state(ids, old)


def _digest(tweet: bytes) -> bytes:
    return hashlib.blake2b(tweet, digest_size=DIGEST_BYTES).digest()


def _state(ids: Sequence[int], digests: dict[int, bytes]) -> HeldTweets:
    return HeldTweets(tuple(ids), b"".join(map(digests.__getitem__, ids)))
