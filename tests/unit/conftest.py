"""Unit tests need no server: none of them may open a socket or start a process."""

from __future__ import annotations

import socket
import subprocess
from typing import Any

import pytest

REFUSED = "a unit test may not {}: move it to tests/integration"


class _NoSocket(socket.socket):
    """Wraps sockets that exist, as the event loop's own pair, and makes no new ones."""

    def __init__(
        self,
        family: int = -1,
        type: int = -1,  # noqa: A002 - the name of socket.socket's parameter
        proto: int = -1,
        fileno: int | None = None,
    ) -> None:
        if fileno is None:
            raise AssertionError(REFUSED.format("open a socket"))
        super().__init__(family, type, proto, fileno)


def _no_process(*_: Any, **__: Any) -> None:
    raise AssertionError(REFUSED.format("start a process"))


@pytest.fixture(autouse=True)
def _without_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", _NoSocket)
    monkeypatch.setattr(subprocess, "Popen", _no_process)
