"""Keeps environment variables that are meant for other programs from ruling our connections.

libpq reads variables that a shell often has for psql and the like: `PGHOST`, `PGOPTIONS` or
`PGSERVICE` would change where Fanfare connects and what it gets there. Fanfare's settings say all
of that. libpq has no argument that turns off PGSERVICE, PGTZ or PGDATESTYLE, so all of its
variables are removed. So are those of OpenTelemetry, which would change what is traced and where
traces go, except OTEL_RESOURCE_ATTRIBUTES: it says where a process runs, and nothing else.

What the other libraries read is dealt with where they are called: proxies in `core.rpc.tls`. They
are not removed, because fetching Kafka's jars needs them. The variables that begin with GRPC_ stay,
since only somebody who means this process's grpc sets them. redis-py, librdkafka and aiohttp's
server read none.
"""

from __future__ import annotations

import os

# Everything that libpq and OpenTelemetry read begins with one of these.
_PREFIXES = ("PG", "OTEL_")
_KEPT = "OTEL_RESOURCE_ATTRIBUTES"
# With it, Python's TLS would write the secrets of our connections to a file.
_KEY_LOG = "SSLKEYLOGFILE"


def ignore_foreign_variables() -> list[str]:
    """Remove the variables from this process's environment; return their names.

    Every program calls this before it connects to anything.
    """
    found = sorted(
        name
        for name in os.environ
        if (name.startswith(_PREFIXES) and name != _KEPT) or name == _KEY_LOG
    )
    for name in found:
        del os.environ[name]
    return found
