"""Logs do not repeat the content of requests that cannot be parsed."""

from __future__ import annotations

import socket

import pytest
from helpers.fanfare import Fanfare
from helpers.http2 import opening
from helpers.waiting import wait_until

from core.rpc.health_probe import probe

# Not SECRET, for which all logs are searched anyway.
WORD = b"whispered"
HEAD = b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
UNREADABLE = [
    HEAD + b"Authorization: Bearer " + WORD + b"\0\r\n\r\n",
    HEAD + b"Authorization : Bearer " + WORD + b"\r\n\r\n",
    HEAD.replace(b"\r", b"") + b"Authorization: Bearer " + WORD + b"\n\n",
    HEAD + b"Authorization: Bearer " + WORD * 1000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("request_", UNREADABLE, ids=range(len(UNREADABLE)))
def test_no_log_repeats_a_request_that_is_not_http(fanfare: Fanfare, request_: bytes) -> None:
    """Such a request may contain an access token, next to the byte that is wrong."""
    with _connect(fanfare.settings.rest_write_port) as connection:
        connection.sendall(request_)
        assert b" 400 " in _read(connection, b"\r\n\r\n")
    assert _logs_with(fanfare, WORD) == []


def test_no_log_repeats_bytes_after_a_request(fanfare: Fanfare) -> None:
    """Such bytes may be the end of a body with a password, if its Content-Length was too small."""
    with _connect(fanfare.settings.rest_write_port) as connection:
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
        _read(connection, b"}]}")
        connection.sendall(b'"password": "' + WORD + b'"}\r\n\r\n')
        assert b" 400 " in _read(connection, b"\r\n\r\n")
    assert _logs_with(fanfare, WORD) == []


def test_no_log_repeats_metadata_that_is_not_text(fanfare: Fanfare) -> None:
    """Such metadata may be an access token, or a path, with a byte of another encoding."""
    path = b"/fanfare.write.v1.WriteService/DeleteUser"
    for call in (opening(path, (b"authorization", WORD + b"\xff")), opening(b"/" + WORD + b"\xff")):
        with _connect(fanfare.settings.write_port) as connection:
            connection.sendall(call)
            _read(connection, b"grpc-status", may_close=True)  # the native server does
    # The second request makes grpc close the port, which is logged later.
    target = f"127.0.0.1:{fanfare.settings.write_port}"
    wait_until(lambda: probe(target) is None, "the port is open again")
    assert _logs_with(fanfare, WORD) == []


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def _read(connection: socket.socket, end: bytes, *, may_close: bool = False) -> bytes:
    """Return what is received up to and including these bytes, or until the connection closes."""
    answered = b""
    while end not in answered:
        part = connection.recv(1 << 16)
        if not part:
            assert may_close, answered
            break
        answered += part
    return answered


def _logs_with(fanfare: Fanfare, word: bytes) -> list[str]:
    logs = (fanfare.settings.state_dir / "logs").glob("*.log")
    return [log.name for log in logs if word in log.read_bytes()]
