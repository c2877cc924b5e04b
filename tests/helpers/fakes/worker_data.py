"""What a contract test sees of Redis: the keys of a real server, or of the worker's fake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import redis
from helpers.fakes.worker_redis import FakeRedis


class Data(Protocol):
    """Looks into a server, and changes it behind the worker's back."""

    def get(self, key: str) -> bytes | None:
        """Return a string."""
        ...

    def set(self, key: str, value: bytes) -> None:
        """Set a string."""
        ...

    def elements(self, key: str) -> list[bytes]:
        """Return a list; an absent one is empty."""
        ...

    def make_list(self, key: str, elements: list[bytes]) -> None:
        """Put a list there."""
        ...


@dataclass
class ValkeyData:
    """The data of a real server."""

    client: redis.Redis

    def get(self, key: str) -> bytes | None:
        """See Data."""
        value: Any = self.client.get(key)
        return value if value is None else bytes(value)

    def set(self, key: str, value: bytes) -> None:
        """See Data."""
        self.client.set(key, value)

    def elements(self, key: str) -> list[bytes]:
        """See Data."""
        found: Any = self.client.lrange(key, 0, -1)
        return list(found)

    def make_list(self, key: str, elements: list[bytes]) -> None:
        """See Data."""
        self.client.rpush(key, *elements)


@dataclass
class FakeData:
    """The data of the fake."""

    redis: FakeRedis

    def get(self, key: str) -> bytes | None:
        """See Data."""
        return self.redis.strings.get(key.encode())

    def set(self, key: str, value: bytes) -> None:
        """See Data."""
        self.redis.set(key, value)

    def elements(self, key: str) -> list[bytes]:
        """See Data."""
        return self.redis.lists.get(key.encode(), [])

    def make_list(self, key: str, elements: list[bytes]) -> None:
        """See Data."""
        self.redis.lists[key.encode()] = elements
