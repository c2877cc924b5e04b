"""Calls of the REST API."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from core.rpc.tls import client_context
from core.settings import Settings

_TIMEOUT_SECONDS = 60


class RestClient:
    """Sends each call to the port that serves it: queries to one, commands to the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def call(
        self,
        verb: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        token: str = "",
        forwarded: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any, dict[str, str]]:
        """Return the status, the parsed JSON (None if empty) and the headers of a call's answer.

        Args:
            verb: The HTTP method.
            path: Path and query string.
            body: What to send as JSON.
            raw: The bytes to send instead of a body in JSON.
            token: The caller's access token.
            forwarded: The value of X-Forwarded-For.
            headers: Further headers.
        """
        settings = self._settings
        is_query = verb == "GET" or path.split("?", maxsplit=1)[0].endswith(":batchGet")
        port = settings.rest_read_port if is_query else settings.rest_write_port
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(  # noqa: S310
            f"{'http' if settings.tls_dir is None else 'https'}://127.0.0.1:{port}{path}",
            method=verb,
            data=data,
            headers=({"Content-Type": "application/json"} if data is not None else {})
            | ({"Authorization": f"Bearer {token}"} if token else {})
            | ({"X-Forwarded-For": forwarded} if forwarded else {})
            | dict(headers or {}),
        )
        context = client_context(settings.tls_dir)
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=_TIMEOUT_SECONDS, context=context
            ) as response:
                status, text, answered = response.status, response.read(), response.headers
        except urllib.error.HTTPError as error:
            status, text, answered = error.code, error.read(), error.headers
        return status, json.loads(text) if text else None, dict(answered)
