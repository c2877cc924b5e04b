"""What an operator is told when a process cannot listen on a port."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from core.runtime import ports
from core.runtime.ports import PortUser, explain_bind_error

LISTENER = PortUser(is_listening=True, is_lingering=False, inode="1")
CLIENT = PortUser(is_listening=False, is_lingering=False, inode="2")
ENDED = PortUser(is_listening=False, is_lingering=True, inode="0")


@pytest.mark.parametrize(
    ("number", "users", "text"),
    [
        (errno.EADDRINUSE, [ENDED, LISTENER], "nginx (process 7) listens on the port; stop it"),
        (errno.EADDRINUSE, [ENDED, CLIENT], "a connection of nginx (process 7) to elsewhere has"),
        (errno.EADDRINUSE, [ENDED], "a connection that has ended still has the port, for at most"),
        (errno.EADDRINUSE, [], "another program has the port; stop it"),
        (errno.EACCES, [], "this user may not use ports below 1024; set X"),
        (errno.EADDRNOTAVAIL, [], "this machine does not have the address; set FANFARE_BIND"),
        (errno.EAFNOSUPPORT, [], "IPv6 is off on this machine; set FANFARE_BIND to an IPv4"),
        (errno.ENETDOWN, [], "Network is down; set X"),
    ],
)
def test_each_cause_has_its_own_sentence(
    monkeypatch: pytest.MonkeyPatch, number: int, users: list[PortUser], text: str
) -> None:
    """The sentence names the address, the cause, and a cure that fits the cause."""
    monkeypatch.setattr(ports, "_users", lambda _: users)
    monkeypatch.setattr(ports, "_program", lambda _: "nginx (process 7)")
    told = explain_bind_error("::1", 80, OSError(number, os.strerror(number)), "set X")
    assert told.startswith(f"cannot listen on [::1]:80: {text}")


def test_a_name_without_an_address_is_told_apart() -> None:
    """An operator who misspells FANFARE_BIND is not told that a port is taken."""
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert "the name has no address" in explain_bind_error("nowhere", 80, error, "set X")
