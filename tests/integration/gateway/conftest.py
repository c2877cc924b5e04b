"""A gateway in front of two fake services."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from helpers.grpc_server import READ, WRITE

from gateway.cors import Cors

from .fakes import Client, Fake, gateway


@pytest.fixture(autouse=True)
def _closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a gateway that stops close idle connections at once; the tests' client keeps some."""
    monkeypatch.setattr("gateway.server.LINGER_SECONDS", 0.0)


@pytest.fixture
async def write() -> AsyncIterator[Fake]:
    """Yield a fake write service."""
    fake = Fake(WRITE)
    await fake.server.start()
    yield fake
    await fake.server.drain()


@pytest.fixture
async def read() -> AsyncIterator[Fake]:
    """Yield a fake read service."""
    fake = Fake(READ)
    await fake.server.start()
    yield fake
    await fake.server.drain()


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
    """Yield a client of the commands' port."""
    async with gateway(write, cors) as port:
        yield Client(session, port)


@pytest.fixture
async def queries(read: Fake, session: aiohttp.ClientSession, cors: Cors) -> AsyncIterator[Client]:
    """Yield a client of the queries' port."""
    async with gateway(read, cors) as port:
        yield Client(session, port)
