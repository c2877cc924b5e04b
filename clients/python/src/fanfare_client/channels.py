"""Channels to Fanfare's services, with the settings that a client of them needs."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import grpc

# What a call without a timeout gets. Calls wait for a connection, so one without a deadline could
# wait forever.
DEFAULT_TIMEOUT_SECONDS = 10.0

OPTIONS: list[tuple[str, str | int]] = [
    # What is repeated, how often, and after which time: docs/service_config.json of Fanfare.
    (
        "grpc.service_config",
        resources.files("fanfare_client").joinpath("service_config.json").read_text(),
    ),
    # Fanfare allows a ping every 5 s. Without pings, a connection that is dead but not closed
    # would be noticed only by the deadlines of its calls, and watches have none.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A service that restarts is back within seconds; by default, the pauses grow to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


def tls_from_folder(folder: Path) -> grpc.ChannelCredentials:
    """Return credentials from the three files, in PEM, that Fanfare's own processes use.

    Args:
        folder: Has `ca.crt` (the authority that signed the servers' certificates), `tls.crt` and
            `tls.key` (the client's own certificate and private key; Fanfare requires them).

    Raises:
        OSError: A file cannot be read.
    """
    authority, key, certificate = (
        (folder / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt")
    )
    return grpc.ssl_channel_credentials(authority, key, certificate)
