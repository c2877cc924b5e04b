"""What a Postgres server must have committed before it may answer a read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, LiteralString

from core.errors import ConsistencyTokenLostError, FanfareError, NotYetConsistentError
from core.feed.history import Moment, OtherHistoryError
from core.runtime.metrics import METRICS, Metric
from core.storage.postgres import HAS_REACHED
from core.storage.queries import load_queries
from read_service.servers import Connection

HAS_TOKEN = load_queries("read_service")["has_token"]


class Freshness:
    """No requirement: every server may answer, however far it lags.

    Each subclass requires something. Its checks are separate statements, to be run on the same
    connection before the read.
    """

    fallback: Freshness | None = None
    """What to require instead when no server can answer; None makes the read fail."""
    unavailable_error: ClassVar[type[FanfareError] | None] = None
    """What to raise when the primary is down; None for the DatabaseUnavailableError itself."""

    async def is_met_by(self, replica: Connection) -> bool:  # noqa: ARG002 - the subclasses' need
        """Return whether a replica may answer."""
        return True

    async def check(self, primary: Connection) -> None:
        """Raise an error if the primary may not answer."""


ANY = Freshness()


@dataclass(frozen=True)
class TokenFreshness(Freshness):
    """The server has committed what a consistency token stands for."""

    moment: Moment
    """The moment in the token."""
    unavailable_error = NotYetConsistentError

    async def is_met_by(self, replica: Connection) -> bool:
        """Return whether a replica may answer."""
        return bool(await _ask(replica, HAS_TOKEN, self.moment))

    async def check(self, primary: Connection) -> None:
        """Raise an error if the primary may not answer.

        A primary that took over from another one may lack commits that the other acknowledged.

        Raises:
            ConsistencyTokenLostError: the token is of a former history, and what it stands for
                may be lost.
            NotYetConsistentError: the primary has not reached the token's moment.
        """
        has_token = await _ask(primary, HAS_TOKEN, self.moment)
        if has_token is None:
            METRICS.add(Metric.TOKEN_LOST)
            raise ConsistencyTokenLostError
        if not has_token:
            raise NotYetConsistentError


@dataclass(frozen=True)
class AppliedFreshness(Freshness):
    """The server has committed everything that the fan-out has applied to Redis.

    What is stored in Redis must be read with this requirement and without a fallback. A page that
    is only shown to a reader may fall back to ANY: an old page is better than none.
    """

    moment: Moment
    """The moment up to which the fan-out has applied events."""
    fallback: Freshness | None = None

    async def is_met_by(self, replica: Connection) -> bool:
        """Return whether a replica may answer."""
        return bool(await _ask(replica, HAS_REACHED, self.moment))

    async def check(self, primary: Connection) -> None:
        """Raise an error if the primary may not answer.

        Raises:
            OtherHistoryError: the database is at another history than Redis.
        """
        if not await _ask(primary, HAS_REACHED, self.moment):
            raise OtherHistoryError


async def _ask(connection: Connection, query: LiteralString, moment: Moment) -> bool | None:
    """Return the answer of a query that has one row with one column."""
    parameters = {"history": moment.history, "lsn": moment.lsn}
    cursor = await connection.execute(query, parameters)
    row = await cursor.fetchone()
    return row[0] if row is not None else None
