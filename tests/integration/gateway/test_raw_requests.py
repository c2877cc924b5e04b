"""Raw HTTP: versions, connections and the framing of bodies."""

from __future__ import annotations

import asyncio

import pytest

from .fakes import Client

DEADLINE_SECONDS = 10.0
_BODY = b'{"user_ids": [1]}'
_GET = b"GET /users/1 HTTP/1.1\r\nHost: x\r\n"
_POST = b"POST /users:batchGet HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_PUT = b"PUT /users/1 HTTP/1.1\r\nHost: x\r\n"
_CLOSE = b"Connection: close\r\n"
_LENGTH = b"Content-Length: %d\r\n" % len(_BODY)
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
# Requests, and the status lines and Connection headers of the answers.
RAW = {
    "HTTP/1.0": (b"GET /users/1 HTTP/1.0\r\n\r\n", ["HTTP/1.0 200 OK"]),
    "HTTP/1.0 with keep-alive": (
        b"GET /users/1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        ["HTTP/1.0 200 OK", "Connection: keep-alive", "HTTP/1.0 404 Not Found"],
    ),
    "pipelined, with an error": (
        _GET + b"\r\n" + _PUT + b"\r\n" + _GET.replace(b"GET", b"HEAD") + _CLOSE + b"\r\n",
        [
            "HTTP/1.1 200 OK",
            "HTTP/1.1 405 Method Not Allowed",
            "HTTP/1.1 200 OK",
            "Connection: close",
        ],
    ),
    "garbage after a request": (
        _GET + b"\r\nGARBAGE\r\n\r\n",
        ["HTTP/1.0 400 Bad Request"],
    ),
    "an absolute target": (
        b"GET http://other/users/1 HTTP/1.1\r\nHost: x\r\n" + _CLOSE + b"\r\n",
        ["HTTP/1.1 200 OK", "Connection: close"],
    ),
    "OPTIONS *": (
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n" + _CLOSE + b"\r\n",
        ["HTTP/1.1 404 Not Found", "Connection: close"],
    ),
    "CONNECT": (
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n" + _CLOSE + b"\r\n",
        ["HTTP/1.1 404 Not Found", "Connection: close"],
    ),
    "an expected body": (
        _POST + _LENGTH + _CLOSE + b"Expect: 100-continue\r\n\r\n" + _BODY,
        ["HTTP/1.1 100 Continue", "HTTP/1.1 200 OK", "Connection: close"],
    ),
    "a chunked body": (
        _POST + _CHUNKED + _CLOSE + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY),
        ["HTTP/1.1 200 OK", "Connection: close"],
    ),
    "both a length and chunks": (
        _POST + _LENGTH + _CHUNKED + b"\r\n0\r\n\r\n",
        ["HTTP/1.0 400 Bad Request"],
    ),
    "a target that is too long": (
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        ["HTTP/1.0 400 Bad Request"],
    ),
}


@pytest.mark.parametrize(("request_bytes", "expected"), RAW.values(), ids=RAW)
async def test_raw_requests(queries: Client, request_bytes: bytes, expected: list[str]) -> None:
    """Each request is answered once, in order, and the connection closes when it should."""
    reader, writer = await asyncio.open_connection("127.0.0.1", queries.port)
    writer.write(request_bytes)
    async with asyncio.timeout(DEADLINE_SECONDS):
        answers = await reader.read()
    writer.close()
    lines = [line.split(b"HTTP/1.", 1) for line in answers.split(b"\r\n")]
    told = [
        (b"HTTP/1." + parts[1] if parts[1:] else parts[0]).decode()
        for parts in lines
        if parts[1:] or parts[0].startswith(b"Connection: ")
    ]
    assert told == expected
