"""What Fanfare's producers and consumers of Kafka have in common."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from core.settings import DEFAULT_SILENCE_SECONDS, SettingsError

GROUP = "fanfare.fanout"

# What a dead letter's headers tell of the record: where it stood, and why it cannot be read.
PLACE_HEADER = "place"
REASON_HEADER = "reason"

# Java's default, so that producers in other languages put an author's events where ours go.
PARTITIONER = "murmur2_random"


# librdkafka's names for what an address may say of TLS.
_OPTIONS = {
    "ca": "ssl.ca.location",
    "cert": "ssl.certificate.location",
    "key": "ssl.key.location",
    "mechanism": "sasl.mechanism",
}
_SCHEMES = {"ssl": "SSL", "sasl+ssl": "SASL_SSL"}
_DEFAULT_MECHANISM = "SCRAM-SHA-512"
_UNUSABLE = (
    "FANFARE_KAFKA_BOOTSTRAP_SERVERS is not usable: write host:port, or ssl://host:port?ca=FILE, "
    "or sasl+ssl://user:password@host:port?ca=FILE; other options are cert, key and mechanism."
)


def client_settings(
    address: str, silence_seconds: float = DEFAULT_SILENCE_SECONDS
) -> dict[str, Any]:
    """Return librdkafka's settings for any client; it logs through Python's logging.

    The address is FANFARE_KAFKA_BOOTSTRAP_SERVERS: host:port, more of them after commas; over TLS
    as ssl://host:port?ca=FILE&cert=FILE&key=FILE, and with a password as
    sasl+ssl://user:password@host:port?ca=FILE&mechanism=PLAIN, each option being optional, and
    %-escapes for what a URL cannot hold. Raises SettingsError for anything else.

    silence_seconds: after how long without an answer a connection is given up.
    """
    milliseconds = int(silence_seconds * 1000)
    return {
        **(_secure(address) if "://" in address else {"bootstrap.servers": address}),
        "logger": logging.getLogger("librdkafka"),
        # Twice a second while a broker is away: not the twenty times, each with its line in the
        # log, that librdkafka would begin with, nor the 10 s apart that it would end with.
        "reconnect.backoff.ms": 500,
        "reconnect.backoff.max.ms": 1000,
        # By default a minute, and half a minute to connect.
        "socket.timeout.ms": milliseconds,
        "socket.connection.setup.timeout.ms": milliseconds,
        "socket.keepalive.enable": True,
    }


def producer_settings(
    address: str, silence_seconds: float = DEFAULT_SILENCE_SECONDS
) -> dict[str, Any]:
    """Return settings for a producer that neither loses nor reorders records."""
    return client_settings(address, silence_seconds) | {
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": PARTITIONER,
    }


def _secure(address: str) -> dict[str, str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        # Which would repeat the address, and may hold a password.
        raise SettingsError(_UNUSABLE) from None
    login, _, servers = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    with_password = parts.scheme == "sasl+ssl"
    if (
        parts.scheme not in _SCHEMES
        or not servers
        or options.keys() - _OPTIONS.keys()
        or bool(user and password) != with_password
    ):
        raise SettingsError(_UNUSABLE)
    settings = {"bootstrap.servers": servers, "security.protocol": _SCHEMES[parts.scheme]}
    if with_password:
        settings |= {
            "sasl.mechanism": _DEFAULT_MECHANISM,
            "sasl.username": unquote(user),
            "sasl.password": unquote(password),
        }
    return settings | {_OPTIONS[name]: value for name, value in options.items()}


def dead_letter_topic(topic: str) -> str:
    """Return the name of the topic that takes what a consumer of the topic cannot read."""
    return f"{topic}.dlq"
