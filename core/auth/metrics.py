"""The metrics of the authorizer."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import Counter


class Limit(StrEnum):
    """Which limit a call was refused by."""

    USER = "user"
    """The calls of a user."""
    ADDRESS = "address"
    """The calls of an address whose users are not known, or the calls of all of its users."""
    COST = "cost"
    """The calls of a user or address, one request of which counted as several."""


RATE_LIMITED = Counter(
    "fanfare_rate_limited_calls", "Calls that were refused by a rate limit.", ["limit"]
)
for limit in Limit:
    RATE_LIMITED.labels(limit)
