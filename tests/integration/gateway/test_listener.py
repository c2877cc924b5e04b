"""The addresses that a REST server listens on."""

from __future__ import annotations

import socket

import pytest

from core.runtime.process import StartError
from gateway.cors import Cors
from gateway.listener import Listener
from gateway.server import RestServer

from .fakes import Fake


async def test_addresses_that_the_machine_lacks_are_skipped(
    read: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An example is ::1 where IPv6 is off. If no address is left, the server does not start."""
    names = {
        name: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in addresses]
        for name, addresses in {"both": ("192.0.2.1", "127.0.0.1"), "none": ("192.0.2.1",)}.items()
    }
    both, none = (
        RestServer(Listener(name, 0), read.handlers, lambda: True, Cors("")) for name in names
    )
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda name, *_, **__: names[name])
        await both.start()
        with pytest.raises(StartError, match="does not have the address"):
            await none.start()
    socket.create_connection(("127.0.0.1", both.port)).close()
    await both.drain()


async def test_a_taken_port_leaves_nothing_open(
    read: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If one of several addresses is taken, the others are closed, and a drain does no harm."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addresses = [("127.0.0.2", 0), taken.getsockname()]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in addresses]
        server = RestServer(Listener("two", 0), read.handlers, lambda: True, Cors(""))
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            with pytest.raises(StartError, match="another program has the port; stop"):
                await server.start()
    await server.drain()


async def test_a_name_that_is_unknown_is_named(read: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who misspells FANFARE_BIND is not told that a port is taken."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    server = RestServer(Listener("nowhere", 0), read.handlers, lambda: True, Cors(""))
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(StartError, match=r"nowhere:\d+: the name has no address"):
            await server.start()
    await server.drain()
