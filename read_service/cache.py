"""The connection to Redis for one history: every call is bounded in time.

When Redis has failed several times in a row, it is not asked again for one second. Callers then get
their answers from Postgres at once, instead of waiting for a timeout each.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from redis.exceptions import RedisError

from core.feed.checkpoints import required_lsn
from core.feed.history import Moment
from core.feed.keys import Keys
from core.feed.sharding import Shard
from core.runtime.metrics import METRICS, Metric
from core.storage.circuit_breaker import CircuitBreaker
from core.storage.redis import RedisConnection
from core.storage.redis_memory import is_out_of_memory
from core.storage.redis_pipeline import Command, OnInvalidate, Replies
from read_service.protocols import CacheUnavailableError

LOG = logging.getLogger(__name__)
Result = TypeVar("Result")
TIMEOUT_SECONDS = 0.2
FAILURES_TO_OPEN = 3
OPEN_SECONDS = 1.0


class CacheConnection:
    """Sends commands to Redis about the keys of one history at a time.

    A call raises CacheUnavailableError until enter() names a history, while the circuit breaker is
    open, and when Redis does not answer or has no memory left.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        changed: OnInvalidate,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect at the first call.

        Args:
            url: where Redis is.
            prefix: FANFARE_REDIS_PREFIX.
            changed: called with the keys of tracked reads that have changed, or with None when
                the connection is lost and any of them may have changed.
            clock: seconds; tests pass their own.
        """
        self._redis = RedisConnection(url, TIMEOUT_SECONDS, changed)
        self._prefix = prefix
        self.keys = Keys.of(prefix, "")
        """The keys of the history."""
        self.history: str | None = None
        """The history whose keys are read; None while Redis must not be trusted."""
        self._breaker = CircuitBreaker(FAILURES_TO_OPEN, OPEN_SECONDS, _note_open_breaker, clock)

    @property
    def is_up(self) -> bool:
        """Whether Redis answers, as far as the last calls tell."""
        return not self._breaker.is_failing

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def trouble(self) -> str | None:
        """Return why nothing can be read from Redis, or None if something could be a while ago."""
        if self.history is None:
            return "it is not known which history of Postgres the lists in Redis are of"
        return "Redis does not answer" if self._breaker.is_failing else None

    def enter(self, history: str | None) -> None:
        """Read the keys of another history from now on; None: trust nothing.

        Calls that are under way fail with CacheUnavailableError. The connection is closed, and
        `changed` is called with None.
        """
        self.keys = Keys.of(self._prefix, history or "")
        self.history = history
        self._redis.close()

    async def ask_with_applied(
        self, commands: Sequence[Command], shards: Iterable[Shard]
    ) -> tuple[Replies, Moment | None]:
        """Return the answers, and the moment up to which events were applied to the shards.

        Redis executes the commands before it reads the checkpoints. So whatever the fan-out applies
        after that moment meets the effects of the commands. The moment is None if a checkpoint of
        one of the shards is absent.
        """
        history = self.history
        asked: list[Command] = [("MGET", *self.keys.checkpoints(shard)) for shard in sorted(shards)]
        answers = await self.ask([*commands, *asked])
        values = [value for answer in answers[len(commands) :] for value in answer]
        lsn = required_lsn(values)
        moment = Moment(history, lsn) if history is not None and lsn is not None else None
        return answers[: len(commands)], moment

    async def ask(
        self, commands: Sequence[Command], parsed: Callable[[Replies], None] | None = None
    ) -> Replies:
        """Return the answers to commands, which Redis executes in this order.

        Args:
            commands: names and arguments.
            parsed: called with the answers before anything that Redis sends later is parsed,
                unless one of them is an error.

        Raises:
            CacheUnavailableError: there are no answers, or they are of a former history.
        """
        history = self._trusted_history()

        def parsed_in_time(answers: Replies) -> None:
            if parsed is None or self.history != history:
                return
            if not any(isinstance(answer, RedisError) for answer in answers):
                parsed(answers)

        return await self._trusted(self._redis.execute(commands, parsed_in_time), history)

    async def barrier(self) -> None:
        """Wait until `changed` was called with all changes of tracked keys before this call.

        Raises:
            CacheUnavailableError: Redis does not answer, or another history was entered meanwhile.
        """
        history = self._trusted_history()
        await self._trusted(self._redis.barrier(), history)

    def _trusted_history(self) -> str:
        """Return the history that can be read now.

        Raises:
            CacheUnavailableError: there is none.
        """
        if self.history is None or self._breaker.is_open:
            raise CacheUnavailableError
        return self.history

    async def _trusted(self, asking: Awaitable[Result], history: str) -> Result:
        """Return what Redis answers, if that is still of the history.

        Raises:
            CacheUnavailableError: there is no answer, or it is of a former history.
        """
        try:
            answer = await asking
        except (RedisError, OSError, TimeoutError) as error:
            if is_out_of_memory(error):
                # Redis still answers, and can be read: no failure for the circuit breaker.
                METRICS.add(Metric.CACHE_REFUSED)
                raise CacheUnavailableError from error
            self._breaker.record_failure(error)
            raise CacheUnavailableError from error
        self._breaker.record_success()
        if self.history != history:
            # enter() could not close the connection, because it was still being opened.
            raise CacheUnavailableError
        return answer


def _note_open_breaker(error: Exception) -> None:
    METRICS.add(Metric.REDIS_PAUSED)
    LOG.warning("Redis circuit breaker opened; reading from Postgres: error=%s", error)
