"""REST servers over fake services."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from helpers.grpc_server import READ, WRITE

from gateway.cors import Cors

from .fakes import Client, Fake, rest


@pytest.fixture(autouse=True)
def _closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let drains close idle connections at once, because the tests' client keeps some open."""
    monkeypatch.setattr("gateway.server.LINGER_SECONDS", 0.0)


@pytest.fixture
def write() -> Fake:
    """Return a fake write service."""
    return Fake(WRITE)


@pytest.fixture
def read() -> Fake:
    """Return a fake read service."""
    return Fake(READ)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Yield an HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def cors() -> Cors:
    """Return CORS for one origin."""
    return Cors("https://app.example")


@pytest.fixture
async def commands(
    write: Fake, session: aiohttp.ClientSession, cors: Cors
) -> AsyncIterator[Client]:
    """Yield a client of the write service's REST port."""
    async with rest(write, cors) as port:
        yield Client(session, port)


@pytest.fixture
async def queries(read: Fake, session: aiohttp.ClientSession, cors: Cors) -> AsyncIterator[Client]:
    """Yield a client of the read service's REST port."""
    async with rest(read, cors) as port:
        yield Client(session, port)
