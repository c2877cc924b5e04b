"""The page's files as browsers get them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from core.settings import Settings
from gateway.cors import Cors
from gateway.demo_page import FOLDER, DemoPage, page_address, page_origins
from gateway.listener import Listener
from gateway.server import RestServer

from .fakes import Client, Fake


@pytest.fixture
async def client(read: Fake, session: aiohttp.ClientSession) -> AsyncIterator[Client]:
    """Yield a client of a REST port with the page, whose write API is at port 8081."""
    settings = Settings(rest_write_port=8081, watch_heartbeat_seconds=3)
    page = DemoPage(settings)
    server = RestServer(Listener("127.0.0.1", 0), read.handlers, lambda: True, Cors(""), page)
    await server.start()
    yield Client(session, server.port)
    await server.drain()


async def test_every_file_has_its_type_and_the_policy(client: Client) -> None:
    """Nothing from elsewhere is loaded, no script or style stands in the document."""
    types = {
        "html": "text/html; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    }
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert len(files) > 10
    for file in files:
        name = file.relative_to(FOLDER).as_posix()
        reply = await client.send("GET", "/" if name == "index.html" else f"/{name}")
        assert reply.status == 200, name
        assert reply.body == file.read_bytes()
        assert reply.headers["Content-Type"] == types[file.suffix[1:]]
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers.getall("Cache-Control") == ["no-cache"]
        policy = reply.headers["Content-Security-Policy"].split("; ")
        assert policy[:4] == [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
        ]
        assert policy[4] == "connect-src 'self' 127.0.0.1:8081"
        assert "frame-ancestors 'none'" in policy


async def test_a_file_that_has_not_changed_is_not_sent_again(client: Client) -> None:
    """The browser asks with the tag, and gets 304 without a body, but with the policy."""
    first = await client.send("GET", "/page.js")
    again = await client.send("GET", "/page.js", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["Content-Security-Policy"] == first.headers["Content-Security-Policy"]
    assert "Content-Length" not in again.headers
    other = await client.send("GET", "/page.css", **{"If-None-Match": first.headers["ETag"]})
    assert other.status == 200
    head = await client.send("HEAD", "/")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(
    ("host", "write_url"),
    [
        ("localhost:8080", "//localhost:8081/"),
        ("127.0.0.1:8080", "//127.0.0.1:8081/"),
        ("fanfare.example", "//fanfare.example:8081/"),
        ("[::1]:8080", None),
        ("a.example; script-src *", None),
        ("a.example:8080 b.example", None),
        ("a.example/x", None),
        ("", None),
    ],
)
async def test_the_write_api_is_on_the_host_of_the_page(
    client: Client, host: str, write_url: str | None
) -> None:
    """A host that is not a name adds nothing to the policy."""
    reply = await client.send("GET", "/page-config.json", Host=host)
    assert reply.json == {"write_url": write_url, "heartbeat_seconds": 3.0}
    assert reply.headers["Cache-Control"] == "no-store"
    policy = (await client.send("GET", "/", Host=host)).headers["Content-Security-Policy"]
    assert policy.count("script-src") == 1
    write = f" {write_url.strip('/')}" if write_url else ""
    assert f"connect-src 'self'{write}; " in policy


async def test_the_page_is_off_by_default(queries: Client) -> None:
    """A service without the setting has none of its paths."""
    assert not Settings().demo_page
    for path in ("/", "/page.js", "/page.css", "/page-config.json"):
        reply = await queries.send("GET", path)
        assert (reply.status, reply.reason) == (404, "PATH_NOT_FOUND")


def test_the_write_service_allows_the_origins_of_the_page() -> None:
    """Those by which it is reached on this machine, and none where the page is off."""
    settings = Settings(demo_page=True, rest_read_port=8080)
    assert page_origins(settings) == ["http://localhost:8080", "http://127.0.0.1:8080"]
    assert page_address(settings) == "http://localhost:8080/"
    secured = Settings(demo_page=True, rest_read_port=1, tls_dir=Path("/tls"), bind="f.example")
    assert page_origins(secured)[2:] == ["https://f.example:1"]
    assert page_address(secured) == "https://f.example:1/"
    assert page_origins(Settings(demo_page=False)) == []
    assert page_origins(Settings(demo_page=True, rest_read_port=0)) == []
    for tls, scheme, port in ((None, "http", 80), (Path("/tls"), "https", 443)):
        usual = Settings(demo_page=True, rest_read_port=port, tls_dir=tls, bind="::1")
        hosts = ("localhost", "127.0.0.1", "[::1]")
        # Browsers leave the usual port out.
        assert page_origins(usual) == [f"{scheme}://{host}" for host in hosts]
        assert page_address(usual) == f"{scheme}://localhost/"
    for origin in page_origins(secured):
        assert Cors(origin).headers(origin)["Access-Control-Allow-Origin"] == origin


def test_texts_of_users_can_only_become_text() -> None:
    """No part of the page uses what could make markup of a text, or is loaded from elsewhere."""
    forbidden = (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        ".write(",
        "eval(",
        "srcdoc",
    )
    for file in FOLDER.rglob("*.*"):
        text = file.read_text()
        assert not [word for word in forbidden if word in text], file.name
        assert "https://" not in text, file.name
        if file.suffix == ".html":
            assert " style=" not in text
            assert "<style" not in text
            assert text.count("<script") == 1
            assert not re.search(r"\son[a-z]+=", text)
        if file.suffix == ".js":
            assert len(text.splitlines()) <= 400, file.name
