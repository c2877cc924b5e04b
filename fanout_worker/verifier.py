"""Verifies some cached timelines a minute, so that a wrong one is noticed before a user writes.

This runs in the worker because its settings have all that is needed: Redis, the primary and Kafka.
It reads Redis as it is, and changes nothing there: a read through the read service would build
lists that nobody reads, and extend their TTL.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from enum import StrEnum

import psycopg
from confluent_kafka import KafkaException
from redis.exceptions import RedisError

from core.errors import FanfareError
from core.feed.timeline_lists import TimelineList
from fanout_worker.metrics import VERIFICATIONS
from fanout_worker.verification import (
    Cache,
    Difference,
    NotVerifiableError,
    Store,
    Verification,
)

LOG = logging.getLogger(__name__)
# A list that differs is verified again after this time, in which a worker notices that a server was
# restored from an older copy: it compares checkpoints, topic and history once a second.
CONFIRM_SECONDS = 5.0
# How often a list is tried that readers or the fan-out change meanwhile.
TRIES = 3
# The whole of one verification may take this long.
LIMIT_SECONDS = 60.0
SERVER_ERRORS = (FanfareError, RedisError, OSError, TimeoutError, psycopg.Error, KafkaException)


class Result(StrEnum):
    """How a verification ended."""

    EXACT = "exact"
    """The list is what Postgres says."""
    WRONG = "wrong"
    """The list is wrong, which was found twice."""
    SKIPPED = "skipped"
    """Nothing was compared: no list is cached, the list kept changing, or a server is away."""


class Verifier:
    """Verifies random lists, at random times."""

    def __init__(
        self,
        cache: Cache,
        store: Store,
        verification: Verification,
        per_minute: float,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare to verify.

        Args:
            cache: Redis.
            store: the primary.
            verification: verifies a list.
            per_minute: how many lists to verify in a minute, on average.
            sleep: waits for a number of seconds; tests pass their own.
        """
        self._cache = cache
        self._store = store
        self._verification = verification
        self._mean_seconds = 60 / per_minute
        self._sleep = sleep

    async def run(self) -> None:
        """Verify lists until cancelled."""
        while True:
            # Not at a fixed interval, which could keep in step with something else.
            await self._sleep(self._mean_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            VERIFICATIONS.labels(await self.verify_one()).inc()

    async def verify_one(self) -> Result:
        """Verify one list, and log it if it is wrong."""
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                return await self._verify_one()
        except NotVerifiableError as reason:
            LOG.debug("verification skipped: reason=%s", reason)
        except SERVER_ERRORS as error:
            LOG.debug("verification failed: error=%s", error)
        except Exception:
            LOG.exception("verification failed unexpectedly; this is a bug")
        return Result.SKIPPED

    async def _verify_one(self) -> Result:
        history = await self._store.history()
        if history is None:
            raise NotVerifiableError("no history has begun yet")
        list_ = await self._cache.random_list(history)
        if list_ is None:
            raise NotVerifiableError("no list was found")
        first = await self._verify(history, list_)
        if first is None:
            return Result.EXACT
        await self._sleep(CONFIRM_SECONDS)
        second = await self._verify(history, list_)
        if second is None or not first.ids & second.ids:
            LOG.info("a difference has gone: list=%s:%d", list_.kind, list_.user_id)
            return Result.EXACT
        LOG.error(
            "wrong timeline in Redis; see docs/runbook.md: kind=%s user_id=%d difference=%s",
            *(list_.kind, list_.user_id, second.text),
        )
        return Result.WRONG

    async def _verify(self, history: str, list_: TimelineList) -> Difference | None:
        """Verify a list; try again if it changes meanwhile.

        Raises:
            NotVerifiableError: it has changed every time.
        """
        for _ in range(TRIES - 1):
            try:
                return await self._verification.verify(history, list_)
            except NotVerifiableError:
                pass
        return await self._verification.verify(history, list_)
