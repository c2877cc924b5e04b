"""Tweet bodies kept in process, for as long as Redis has not said that they changed.

Only what a tracked read returned is kept, at the moment in which it is parsed: Redis tells of a
change after the answer that it makes old, on the same connection. A body is therefore at least as
new as any answer that was parsed before it is taken from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.feed.tweet_cache import id_of, is_lease, tweet_of
from core.rpc.messages import delimited
from read_service.store import Item


class HotBodies:
    """The bodies, by tweet id: delimited messages, None for a deleted tweet."""

    def __init__(self, limit: int) -> None:
        """Keep at most limit bodies; those that came first go first."""
        self._bodies: dict[int, bytes | None] = {}
        self._limit = limit

    def unknown(self, ids: Iterable[int]) -> list[int]:
        """Return those of the ids whose bodies are not here."""
        return [id_ for id_ in ids if id_ not in self._bodies]

    def page(self, ids: Sequence[int]) -> list[Item] | None:
        """Return the ids with their bodies; None if one is deleted or not here."""
        known = self._bodies.get
        page = [(id_, body) for id_ in ids if (body := known(id_)) is not None]
        return page if len(page) == len(ids) else None

    def known(self, ids: Iterable[int]) -> dict[int, bytes | None]:
        """Return what is here of the ids."""
        return {id_: self._bodies[id_] for id_ in ids if id_ in self._bodies}

    def keep(self, ids: Sequence[int], values: Sequence[bytes | None]) -> None:
        """Keep what a tracked read of the tweets' bodies returned."""
        for id_, value in zip(ids, values, strict=True):
            if value is not None and not is_lease(value):
                tweet = tweet_of(value)
                self._bodies[id_] = None if tweet is None else delimited(tweet)
        while len(self._bodies) > self._limit:
            del self._bodies[next(iter(self._bodies))]

    def forget(self, keys: Sequence[bytes] | None) -> None:
        """Forget the bodies of the keys; of None: all."""
        if keys is None:
            self._bodies.clear()
            return
        for key in keys:
            self._bodies.pop(id_of(key), None)
