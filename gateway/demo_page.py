"""The demo page, with which people try Fanfare: a client of the public REST API, in gateway/page/.

The read service serves its files beside the queries, so that the page may call them. Its commands
go to the write service's REST port, on the host by which the browser has reached the page.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path

from aiohttp import hdrs, web

from core.settings import Settings, host_and_port
from gateway.answers import Answer
from gateway.response_headers import fixed_lines

FOLDER = Path(__file__).parent / "page"
CONFIG_PATH = "/page-config.json"
_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# A name or an IPv4 address, with or without a port. Anything else in a Host header could add to the
# policy below, in which there is no form for an IPv6 address.
_HOST = re.compile(r"([A-Za-z0-9_.-]+)(:[0-9]{1,5})?")
# The page can load and call nothing else, and nothing can make a script or a style of a text.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

Endpoint = Callable[[web.BaseRequest, Mapping[str, str]], Awaitable[Answer]]


class DemoPage:
    """The answers to requests for the page."""

    def __init__(self, settings: Settings) -> None:
        """Read the files.

        Args:
            settings: say where the write API is, and how often a watch sends a heartbeat.
        """
        self._write_port = settings.rest_write_port
        self._heartbeat_seconds = settings.watch_heartbeat_seconds
        # Browsers ask whether a file has changed each time, so that no page meets an older script.
        self._fixed_lines = fixed_lines(
            is_https=settings.tls_dir is not None, cache_control="no-cache"
        )
        self.endpoints: dict[str, Endpoint] = {CONFIG_PATH: self._config}
        """What answers a GET of each path."""
        for file in sorted(FOLDER.rglob("*.*")):
            if file.suffix in _TYPES:  # not the copy of an editor
                self.endpoints[_path_of(file)] = partial(self._file, _File(file))

    async def _file(
        self, file: _File, request: web.BaseRequest, _path: Mapping[str, str]
    ) -> Answer:
        is_known = file.tag in request.headers.get(hdrs.IF_NONE_MATCH, "")
        answer = (
            Answer(HTTPStatus.NOT_MODIFIED)
            if is_known
            else Answer(HTTPStatus.OK, file.content, content_type=file.content_type)
        )
        answer.headers = {
            hdrs.ETAG: file.tag,
            "Content-Security-Policy": self._policy(request),
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        answer.fixed_lines = self._fixed_lines
        return answer

    async def _config(self, request: web.BaseRequest, _path: Mapping[str, str]) -> Answer:
        """Return where the page finds the write API, which depends on how it was reached."""
        authority = self._write_authority(request)
        config = {
            # Without a scheme, so that it is that of the page, also behind a proxy with TLS.
            "write_url": None if authority is None else f"//{authority}/",
            "heartbeat_seconds": self._heartbeat_seconds,
        }
        return Answer(HTTPStatus.OK, f"{json.dumps(config)}\n".encode())

    def _policy(self, request: web.BaseRequest) -> str:
        authority = self._write_authority(request)
        return _POLICY.format("'self'" if authority is None else f"'self' {authority}")

    def _write_authority(self, request: web.BaseRequest) -> str | None:
        """Return host:port of the write API; None if it is off, or the host is not a name."""
        match = _HOST.fullmatch(request.headers.get(hdrs.HOST, ""))
        if match is None or not self._write_port:
            return None
        return host_and_port(match[1], self._write_port)


class _File:
    """A file of the page."""

    def __init__(self, file: Path) -> None:
        self.content = file.read_bytes()
        self.content_type = _TYPES[file.suffix]
        self.tag = f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'


def page_origins(settings: Settings) -> list[str]:
    """Return the origins at which the page is reached on this machine, and on the bound address.

    They may call the write API. A page that is reached by another name, such as that of a proxy,
    needs FANFARE_CORS_ORIGINS.
    """
    if not (settings.demo_page and settings.rest_read_port):
        return []
    hosts = dict.fromkeys(["localhost", "127.0.0.1", settings.bind])
    return [_origin(settings, host) for host in hosts]


def page_address(settings: Settings) -> str:
    """Return the address of the page for the person at this machine."""
    host = settings.bind.strip("[]")
    is_local = host in {"127.0.0.1", "::1", "localhost", "0.0.0.0", "::"}
    return f"{_origin(settings, 'localhost' if is_local else host)}/"


def _origin(settings: Settings, host: str) -> str:
    """Return the origin of the page at a host, as browsers write it: without the usual port."""
    scheme, usual = ("http", 80) if settings.tls_dir is None else ("https", 443)
    place = host_and_port(host, settings.rest_read_port)
    return f"{scheme}://{place.removesuffix(f':{usual}')}"


def _path_of(file: Path) -> str:
    name = file.relative_to(FOLDER).as_posix()
    return "/" if name == _INDEX else f"/{name}"
