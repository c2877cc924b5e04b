"""Settings of librdkafka, and names in Kafka, that several processes use."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from core.settings import DEFAULT_SILENCE_SECONDS, SettingsError

GROUP = "fanfare.fanout"
# The committed offset of this group says which dead letters have been replayed.
REPLAY_GROUP = "fanfare.dlq"

# The headers of a dead letter: `topic/partition/offset` of the record, and why it cannot be read.
PLACE_HEADER = "place"
REASON_HEADER = "reason"

# The default of the Java producer, so that producers in any language choose the same partition.
PARTITIONER = "murmur2_random"

# The options of an address, and the settings of librdkafka that they stand for.
_OPTIONS = {
    "ca": "ssl.ca.location",
    "cert": "ssl.certificate.location",
    "key": "ssl.key.location",
    "mechanism": "sasl.mechanism",
}
_SCHEMES = {"ssl": "SSL", "sasl+ssl": "SASL_SSL"}
_DEFAULT_MECHANISM = "SCRAM-SHA-512"
_UNUSABLE = (
    "FANFARE_KAFKA_BOOTSTRAP_SERVERS is not usable: write host:port, ssl://host:port?ca=FILE, or "
    "sasl+ssl://user:password@host:port?ca=FILE; other options are cert, key and mechanism."
)


def client_settings(
    address: str, silence_seconds: float = DEFAULT_SILENCE_SECONDS
) -> dict[str, Any]:
    """Return the settings that every client of Kafka needs, including a logger.

    Args:
        address: the setting FANFARE_KAFKA_BOOTSTRAP_SERVERS, in one of the forms below. Every
            option after the question mark may be left out. Commas separate several host:port.
            - host:port
            - ssl://host:port?ca=FILE&cert=FILE&key=FILE
            - sasl+ssl://user:password@host:port?ca=FILE&mechanism=PLAIN, with %-escapes in user and
              password
        silence_seconds: how long a broker may take to answer before the connection is given up.

    Raises:
        SettingsError: the address has none of these forms.
    """
    milliseconds = int(silence_seconds * 1000)
    return {
        **(_secure_settings(address) if "://" in address else {"bootstrap.servers": address}),
        "logger": logging.getLogger("librdkafka"),
        # Attempts to reconnect are 0.5 to 1 s apart. By default they would be 0.1 s apart at first,
        # each with a line in the log, and up to 10 s apart later.
        "reconnect.backoff.ms": 500,
        "reconnect.backoff.max.ms": 1000,
        # The defaults are 60 s, and 30 s to connect.
        "socket.timeout.ms": milliseconds,
        "socket.connection.setup.timeout.ms": milliseconds,
        "socket.keepalive.enable": True,
    }


def producer_settings(
    address: str, silence_seconds: float = DEFAULT_SILENCE_SECONDS
) -> dict[str, Any]:
    """Return the settings of a producer that neither loses nor reorders records.

    The arguments and errors are those of client_settings().
    """
    return client_settings(address, silence_seconds) | {
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": PARTITIONER,
    }


def _secure_settings(address: str) -> dict[str, str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        # The error repeats the address, which may contain a password.
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
    """Return the topic for records that a consumer of the given topic cannot read."""
    return f"{topic}.dlq"
