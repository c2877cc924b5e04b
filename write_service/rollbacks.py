"""Why the transaction of a group of drafts was rolled back, if its parts may still succeed."""

from __future__ import annotations


class RolledBackError(Exception):
    """The transaction failed unexpectedly and created nothing; `__cause__` is the reason."""


class RequestIdLockedError(RolledBackError):
    """Another transaction has claimed one of the request_ids and has not ended."""
