"""The headers that every answer has, whatever its status."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from core.rpc.tls import Certificates, client_context
from gateway.cors import Cors
from ops.certificates import Authority

from .fakes import Fake, rest


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", "/users/1", 200),
        ("GET", "/health", 200),
        ("GET", "/users/x", 400),
        ("GET", "/nowhere", 404),
        ("PATCH", "/users", 405),
        ("OPTIONS", "/users", 204),
        ("POST", "/users:batchGet", 413),
        ("DELETE", "/users/1", 405),
    ],
)
@pytest.mark.parametrize("tls", [False, True])
async def test_every_answer_has_the_fixed_headers(
    read: Fake, cors: Cors, tmp_path: Path, verb: str, path: str, status: int, *, tls: bool
) -> None:
    """No cache stores it and no browser guesses its type. With TLS, browsers must keep to it."""
    context, trust = None, None
    if tls:
        Authority().issue(tmp_path, "fanfare")
        context = Certificates(tmp_path).http_context()
        trust = client_context(tmp_path)
    headers = {"Origin": "https://app.example"} if verb == "OPTIONS" else {}
    body = b"x" * 1_000_000 if status == 413 else None
    async with rest(read, cors, context) as port, aiohttp.ClientSession() as session:
        url = f"http{'s' if tls else ''}://localhost:{port}{path}"
        headers["Content-Type"] = "application/json"
        async with session.request(verb, url, data=body, headers=headers, ssl=trust or True) as got:
            assert got.status == status
            assert got.headers["Cache-Control"] == "no-store"
            assert got.headers["X-Content-Type-Options"] == "nosniff"
            assert ("Strict-Transport-Security" in got.headers) == tls
