"""Compares a timeline with what Postgres says that it must contain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple


class Row(NamedTuple):
    """What is compared of a tweet."""

    id: int
    user_id: int
    """Its author."""
    content: str


def differing_ids(read: Sequence[Row], expected: Sequence[Row]) -> frozenset[int]:
    """Return the tweets that are in only one of two timelines, or different in them."""
    return frozenset(row.id for row in set(read) ^ set(expected))


def describe_difference(read: Sequence[Row], expected: Sequence[Row]) -> str | None:
    """Return how the timeline that was read differs from the expected one; None if it does not.

    The description has ids of tweets, but no texts.
    """
    if list(read) == list(expected):
        return None
    ids, wanted = [row.id for row in read], [row.id for row in expected]
    if missing := sorted(set(wanted) - set(ids), reverse=True):
        return f"{len(missing)} tweets are missing, such as {missing[0]}"
    if extra := sorted(set(ids) - set(wanted), reverse=True):
        return f"{len(extra)} tweets should not be there, such as {extra[0]}"
    if len(ids) != len(set(ids)):
        return f"{len(ids) - len(set(ids))} tweets appear more than once"
    index, (got, right) = next(
        (n, pair) for n, pair in enumerate(zip_longest(read, expected)) if pair[0] != pair[1]
    )
    if got is not None and right is not None and got.id == right.id:
        return f"tweet {got.id} has another author or content"
    return f"the order is wrong from index {index} on"
