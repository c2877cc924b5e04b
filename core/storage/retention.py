"""How long Kafka keeps events, and Redis the history of its values, on their disks.

Events contain the texts of tweets, and outlive the tweets and users that they are about. The
setting FANFARE_RETENTION_DAYS bounds for how long. Everything here is derived from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

DAY_SECONDS = 86_400
# A topic's segments, and the rewrites of Redis' append-only file, are this part of the retention.
PARTS = 7


def part_seconds(days: float) -> float:
    """Return the seconds in which Kafka begins a new segment; days: FANFARE_RETENTION_DAYS."""
    return days * DAY_SECONDS / PARTS


def topic_retention(days: float) -> dict[str, str]:
    """Return the settings of a topic that keeps no record for longer than this many days.

    Kafka deletes whole segments, when their newest record is older than retention.ms. The oldest
    record of a segment is older by up to segment.ms, so the two must not exceed the days together.
    """
    segment = max(1, int(part_seconds(days) * 1000))
    return {
        "retention.ms": str(segment * (PARTS - 1)),
        "segment.ms": str(segment),
        # By default, a record counts as old as its producer says. A producer whose clock is ahead
        # would prolong the retention.
        "message.timestamp.type": "LogAppendTime",
    }


def longest_days(config: Mapping[str, str]) -> float:
    """Return the days for which a topic may keep a record: infinite if nothing limits them.

    Args:
        config: the effective configuration of the topic.
    """
    retention = int(config.get("retention.ms", -1))
    segment = int(config.get("segment.ms", 0))
    return math.inf if retention < 0 else (retention + segment) / 1000 / DAY_SECONDS
