"""Where the gateway listens."""

from __future__ import annotations

import socket

import pytest
from helpers.grpc_server import READ

from core.runtime.process import StartError
from gateway.cors import Cors
from gateway.server import Server
from gateway.service import Service


async def test_addresses_that_the_machine_has_not_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As ::1 of localhost where IPv6 is off; with none at all it does not start."""
    names = {
        name: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in addresses]
        for name, addresses in {"both": ("192.0.2.1", "127.0.0.1"), "none": ("192.0.2.1",)}.items()
    }
    service = Service("127.0.0.1:1", READ)
    both, none = (Server(name, 0, service, Cors(""), ()) for name in names)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda name, *_, **__: names[name])
        await both.start()
        with pytest.raises(StartError, match="not this machine's"):
            await none.start()
    socket.create_connection(("127.0.0.1", both.port)).close()
    await both.drain()
    await service.close()
