"""What Fanfare's producers and consumers of Kafka have in common."""

from __future__ import annotations

import logging
from typing import Any

PARTITIONS = 12
GROUP = "fanfare.fanout"

# What a dead letter's headers tell of the record: where it stood, and why it cannot be read.
PLACE_HEADER = "place"
REASON_HEADER = "reason"

# Java's default, so that producers in other languages put an author's events where ours go.
PARTITIONER = "murmur2_random"


def client_settings(bootstrap_servers: str) -> dict[str, Any]:
    """Return librdkafka's settings for any client; it logs through Python's logging."""
    return {
        "bootstrap.servers": bootstrap_servers,
        "logger": logging.getLogger("librdkafka"),
        # Twice a second while a broker is away: not the twenty times, each with its line in the
        # log, that librdkafka would begin with, nor the 10 s apart that it would end with.
        "reconnect.backoff.ms": 500,
        "reconnect.backoff.max.ms": 1000,
    }


def producer_settings(bootstrap_servers: str) -> dict[str, Any]:
    """Return settings for a producer that neither loses nor reorders records."""
    return client_settings(bootstrap_servers) | {
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": PARTITIONER,
    }


def dead_letter_topic(topic: str) -> str:
    """Return the name of the topic that takes what a consumer of the topic cannot read."""
    return f"{topic}.dlq"
