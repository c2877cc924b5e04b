"""The heads of HTTP responses."""

from __future__ import annotations

import re

import pytest
from aiohttp.http import SERVER_SOFTWARE, HttpVersion10, HttpVersion11

from gateway.answers import Answer


def _head(answer: Answer, version: tuple[int, int] = HttpVersion11) -> list[str]:
    lines = answer.head(HttpVersion10 if version == HttpVersion10 else HttpVersion11).decode()
    assert lines.endswith("\r\n\r\n")
    return [re.sub(r"^Date: .*GMT$", "Date", line) for line in lines[:-4].split("\r\n")]


def test_a_head_has_the_length_and_the_type_of_the_body() -> None:
    """The other headers follow; the date and the server come last."""
    answer = Answer(200, b"12345", {"Retry-After": "1"})
    answer.fixed_lines = "X-Fixed: y\r\n"
    assert _head(answer) == [
        "HTTP/1.1 200 OK",
        "X-Fixed: y",
        "Content-Type: application/json",
        "Content-Length: 5",
        "Retry-After: 1",
        "Date",
        f"Server: {SERVER_SOFTWARE}",
    ]


def test_no_content_has_neither_length_nor_type() -> None:
    """RFC 9110, section 8.6, forbids the length; for 304 it would be that of what is not sent."""
    assert _head(Answer(204))[:2] == ["HTTP/1.1 204 No Content", "Date"]
    assert _head(Answer(304))[:2] == ["HTTP/1.1 304 Not Modified", "Date"]


@pytest.mark.parametrize(
    ("version", "keep_alive", "line"),
    [
        (HttpVersion11, True, None),
        (HttpVersion11, False, "Connection: close"),
        (HttpVersion10, True, "Connection: keep-alive"),
        (HttpVersion10, False, None),
    ],
)
def test_connection_tells_what_the_version_does_not(
    version: tuple[int, int], line: str | None, *, keep_alive: bool
) -> None:
    """A connection stays open by default from HTTP 1.1 on."""
    answer = Answer(200)
    answer.keep_alive = keep_alive
    lines = _head(answer, version)
    assert lines[0] == f"HTTP/1.{version[1]} 200 OK"
    assert [each for each in lines if each.startswith("Connection")] == ([line] if line else [])


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\0b", "\x7f"])
def test_no_header_can_begin_another(value: str) -> None:
    """With FANFARE_CORS_ORIGINS=*, any Origin is part of the answer."""
    with pytest.raises(ValueError, match="control character"):
        Answer(200, headers={"Access-Control-Allow-Origin": value}).head(HttpVersion11)


def test_bytes_that_are_not_utf8_are_left_out() -> None:
    """The parser of requests keeps such bytes of an Origin as surrogates."""
    answer = Answer(200, headers={"Access-Control-Allow-Origin": "x\udcffy"})
    assert "Access-Control-Allow-Origin: xy" in _head(answer)
