"""What a Postgres server must have committed before it may answer a read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, LiteralString

from core.errors import (
    ConsistencyTokenLostError,
    DatabaseUnavailableError,
    FanfareError,
    NotYetConsistentError,
)
from core.feed.history import Moment, OtherHistoryError
from core.runtime.metrics import METRICS, Metric
from core.storage.postgres import HAS_REACHED
from core.storage.queries import load_queries

# What a server says to the question whether it is fresh enough.
Answer = bool | None

_SQL = load_queries("read_service")
HAS_TOKEN = _SQL["has_token"]
IS_PRIMARY = _SQL["is_primary"]


class Freshness:
    """No requirement: every server may answer, however far it lags.

    Each subclass requires something. The server is asked for it in the statement that reads, so
    that both see the same snapshot.
    """

    question: ClassVar[LiteralString | None] = None
    """A statement with one row and one column: true if the server may answer."""
    unavailable_error: ClassVar[type[FanfareError] | None] = None
    """What to raise when the primary is down; None for the DatabaseUnavailableError itself."""

    @property
    def parameters(self) -> Mapping[str, str | int]:
        """The parameters of the question."""
        return {}

    def refusal(self, answer: Answer) -> Exception:
        """Return the error for a primary that has answered the question with False or None."""
        raise NotImplementedError


ANY = Freshness()


class _PrimaryFreshness(Freshness):
    """The server is the primary, so that it has everything that was ever shown."""

    question = IS_PRIMARY

    def refusal(self, answer: Answer) -> Exception:  # noqa: ARG002 - it is a standby
        """Return the error for a server that was configured as the primary and is a standby."""
        return DatabaseUnavailableError()


PRIMARY = _PrimaryFreshness()


@dataclass(frozen=True)
class _MomentFreshness(Freshness):
    """The server has committed everything up to a moment."""

    moment: Moment

    @property
    def parameters(self) -> Mapping[str, str | int]:
        """The parameters of the question."""
        return {"history": self.moment.history, "lsn": self.moment.lsn}


class TokenFreshness(_MomentFreshness):
    """The server has committed what a consistency token stands for."""

    question = HAS_TOKEN
    unavailable_error = NotYetConsistentError

    def refusal(self, answer: Answer) -> Exception:
        """Return the error for a primary that may lack what the token stands for.

        A primary that took over from another one may lack commits that the other acknowledged.
        """
        if answer is None:
            METRICS.add(Metric.TOKEN_LOST)
            return ConsistencyTokenLostError()
        return NotYetConsistentError()


class AppliedFreshness(_MomentFreshness):
    """The server has committed everything that the fan-out has applied to Redis.

    What is stored in Redis must be read with this requirement.
    """

    question = HAS_REACHED

    def refusal(self, answer: Answer) -> Exception:  # noqa: ARG002 - False and None say the same
        """Return the error for a primary that is at another history than Redis."""
        return OtherHistoryError()
