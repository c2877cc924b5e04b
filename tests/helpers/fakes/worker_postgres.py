"""A fake of FollowerStore: follow edges in a dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.feed.history import Lsn, Moment, OtherHistoryError
from fanout_worker.protocols import Followers

HISTORY = "0123456789"


@dataclass
class FakeFollowerStore:
    """Who follows whom, at one moment; fulfils FollowerStore."""

    followers_of: dict[int, list[int]] = field(default_factory=dict)
    history: str | None = HISTORY
    """None while no history has begun."""
    lsn: int = 0
    epoch: int = 1
    ended: list[str] = field(default_factory=list)
    page_size: int = 1
    failure: Exception | None = None
    """What every call raises, as if Postgres were away."""
    reads: list[tuple[list[int], Moment]] = field(default_factory=list)
    """The calls of followers(): users and moment."""
    paged_reads: list[tuple[int, Moment]] = field(default_factory=list)
    """The calls of follower_pages(): user and moment."""

    def now(self) -> tuple[Moment, int]:
        """See FollowerStore."""
        self._check()
        if self.history is None:
            raise OtherHistoryError
        return Moment(self.history, Lsn(self.lsn)), self.epoch

    def ended_histories(self) -> list[str]:
        """See FollowerStore."""
        self._check()
        return list(self.ended)

    def followers(
        self, user_ids: Sequence[int], moment: Moment, limit: int
    ) -> Iterator[tuple[int, Followers]]:
        """See FollowerStore."""
        self._check(moment)
        self.reads.append((list(user_ids), moment))
        for user_id in user_ids:
            yield user_id, np.array(self.followers_of.get(user_id, [])[: limit + 1], np.int64)

    def follower_pages(self, user_id: int, moment: Moment) -> Iterator[Followers]:
        """See FollowerStore."""
        self._check(moment)
        self.paged_reads.append((user_id, moment))
        followers = self.followers_of.get(user_id, [])
        for start in range(0, len(followers), self.page_size):
            yield np.array(followers[start : start + self.page_size], np.int64)

    def close(self) -> None:
        """See FollowerStore."""

    def _check(self, moment: Moment | None = None) -> None:
        if self.failure is not None:
            raise self.failure
        if moment is not None and moment.history != self.history:
            raise OtherHistoryError
