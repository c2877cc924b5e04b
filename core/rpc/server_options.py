"""The options of the gRPC server: keepalive, and what one client and all clients may hold.

grpc's own defaults let one connection have any number of streams, and refuse calls at random while
more than 1,000 wait for the event loop (decision 0027).
"""

from __future__ import annotations

# How often the server pings its clients, and how long it waits for their answer before it closes
# the connection.
KEEPALIVE_SECONDS = 10.0
KEEPALIVE_TIMEOUT_SECONDS = 5.0
# Clients may ping this often, even without calls. A client that pings more often is disconnected.
CLIENT_PING_SECONDS = 5.0
# Maximum age of a TLS connection. It bounds how long a client that connected with an old
# certificate stays connected after the certificates were replaced.
CONNECTION_SECONDS = 600.0
# How long calls may go on that are under way when a connection reaches its maximum age.
CONNECTION_GRACE_SECONDS = 10.0
# How long a client may take for its TLS handshake and its first frame.
HANDSHAKE_SECONDS = 10.0
# Maximum connections per port, as for REST. More are closed at once.
MAX_CONNECTIONS = 1000
# Maximum concurrent calls on one connection, so that a single client cannot take all the calls of a
# process. Clients keep further calls waiting until one has been answered. This also bounds what the
# headers and messages of one connection can take.
MAX_STREAMS = 256
# Far more than can arrive, so that every call reaches Calls, whose refusal says why. Otherwise grpc
# answers some of them itself, with CANCELLED or RESOURCE_EXHAUSTED and without ErrorInfo.
MAX_PENDING_CALLS = 2**31 - 1


def server_options(*, shared: bool, tls: bool) -> list[tuple[str, int]]:
    """Return the options of a server.

    Args:
        shared: whether other processes may listen on the port too.
        tls: whether the server has certificates.
    """
    options = [
        # grpc shares ports by default. A second process on the port must fail instead.
        ("grpc.so_reuseport", int(shared)),
        ("grpc.keepalive_time_ms", int(KEEPALIVE_SECONDS * 1000)),
        ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_SECONDS * 1000)),
        # This timeout takes effect. By default it is a minute, whatever the one above is.
        ("grpc.http2.ping_timeout_ms", int(KEEPALIVE_TIMEOUT_SECONDS * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", int(CLIENT_PING_SECONDS * 1000)),
        ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_SECONDS * 1000)),
        ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        # Otherwise calls count a little longer than their client knows, and a client that keeps to
        # the limit has calls refused without ErrorInfo.
        ("grpc.http.overload_protection", 0),
        ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
    ]
    if tls:
        options += [
            ("grpc.max_connection_age_ms", int(CONNECTION_SECONDS * 1000)),
            ("grpc.max_connection_age_grace_ms", int(CONNECTION_GRACE_SECONDS * 1000)),
        ]
    return options
