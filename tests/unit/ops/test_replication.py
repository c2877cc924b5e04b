"""What `fanfare status` says of a replica."""

from __future__ import annotations

import re

import pytest

from ops.replication import Replication, verdict


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Replication(), "streams, 0.0 s and 0 bytes behind"),
        (
            Replication(bytes_behind=4096, seconds_behind=9.9),
            "streams, 9.9 s and 4,096 bytes behind",
        ),
        (Replication(is_primary=True), "is the primary itself"),
    ],
)
def test_a_replica_that_is_right(found: Replication, text: str) -> None:
    """Its lag is shown as long as it is within the bound."""
    assert verdict(found, 10.0) == (text, False)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            Replication(bytes_behind=4096, seconds_behind=10.1),
            "streams, 10.1 s and 4,096 bytes behind, more than 10 s",
        ),
        (Replication(bytes_behind=1, seconds_behind=None), "an unknown time and 1 bytes behind"),
        (Replication(streams=False), "does not stream, .* its log says why"),
        (Replication(streams=False, wal_is_gone=None), "does not stream, .* its log says why"),
        (Replication(streams=False, wal_is_gone=True), "gone: copy it from the primary again"),
        (Replication(bytes_behind=-7), "has 7 bytes that the primary has lost: copy it"),
        (Replication(is_same_database=False), "another database than the primary: copy it"),
        (Replication(follows=False), "takes writes of its own"),
    ],
)
def test_a_replica_that_is_wrong(found: Replication, text: str) -> None:
    """Whoever reads it is told what to do."""
    told, wrong = verdict(found, 10.0)
    assert wrong
    assert re.search(text, told), told
