"""What `fanfare status` says about a replica."""

from __future__ import annotations

import re

import pytest

from ops.replication import ReplicaState, describe_replica


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (ReplicaState(), "streams, 0.0 s and 0 bytes behind"),
        (
            ReplicaState(bytes_behind=4096, seconds_behind=9.9),
            "streams, 9.9 s and 4,096 bytes behind",
        ),
        (ReplicaState(is_primary=True), "is the primary itself"),
    ],
)
def test_a_healthy_replica(found: ReplicaState, text: str) -> None:
    """A replica that streams and is not too far behind is right, and its lag is shown."""
    assert describe_replica(found, 10.0) == (text, "")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            ReplicaState(bytes_behind=4096, seconds_behind=10.1),
            "streams, 10.1 s and 4,096 bytes behind, more than 10 s; resume its",
        ),
        (
            ReplicaState(bytes_behind=1, seconds_behind=None),
            "an unknown time and 1 bytes behind, more than 10 s; ",
        ),
        (ReplicaState(is_streaming=False), "does not stream, .*; see its log"),
        (
            ReplicaState(is_streaming=False, is_wal_removed=None),
            "does not stream, .*; see its log",
        ),
        (
            ReplicaState(is_streaming=False, is_wal_removed=True),
            "is gone; copy it from",
        ),
        (ReplicaState(bytes_behind=-7), "has 7 bytes that the primary has lost; copy it"),
        (ReplicaState(is_same_database=False), "another database than the primary's; copy it"),
        (ReplicaState(is_standby=False), "takes writes of its own: .*; set FANFARE_POSTGRES_"),
    ],
)
def test_a_replica_in_trouble(found: ReplicaState, text: str) -> None:
    """A replica that cannot be used is wrong, and the text says why or what to do."""
    told = "; ".join(describe_replica(found, 10.0))
    assert re.search(text, told), told
