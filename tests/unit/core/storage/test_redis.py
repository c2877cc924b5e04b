"""The private attributes of redis-py that the Redis connections depend on."""

from __future__ import annotations

import pytest
import redis
import redis.asyncio


@pytest.mark.parametrize(
    ("connection_class", "attribute"),
    [
        (redis.asyncio.Connection, "_writer"),
        (redis.asyncio.Connection, "_close"),
        (redis.asyncio.SSLConnection, "_writer"),
        (redis.asyncio.SSLConnection, "_close"),
        (redis.asyncio.UnixDomainSocketConnection, "_writer"),
        (redis.asyncio.UnixDomainSocketConnection, "_close"),
        (redis.Connection, "_sock"),
        (redis.SSLConnection, "_sock"),
        (redis.UnixDomainSocketConnection, "_sock"),
    ],
)
def test_redis_py_still_has_the_private_attributes(
    connection_class: type[object], attribute: str
) -> None:
    """Every attribute that core/storage/redis.py uses exists in the installed redis-py."""
    assert hasattr(connection_class(), attribute), (
        f"{connection_class.__module__}.{connection_class.__name__} of redis-py "
        f"{redis.__version__} has no attribute {attribute}, which core/storage/redis.py uses: "
        "adapt that module, or stay with the former version of redis-py"
    )
