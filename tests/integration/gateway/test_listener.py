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
        with pytest.raises(StartError, match="not this machine's"):
            await none.start()
    socket.create_connection(("127.0.0.1", both.port)).close()
    await both.drain()
