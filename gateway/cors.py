"""CORS: the web pages of other origins that may call, over REST, Connect and gRPC-Web."""

from __future__ import annotations

import re
from collections.abc import Iterable

from core.runtime.process import StartError

EXPOSED = "Fanfare-Consistency-Token, Retry-After"
# What a page may send. The last five are of the clients of Connect and gRPC-Web.
ALLOWED = (
    "Authorization, Content-Type, Last-Event-ID, Connect-Protocol-Version, Connect-Timeout-Ms, "
    "Grpc-Timeout, X-Grpc-Web, X-User-Agent"
)
PREFLIGHT_SECONDS = 600
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s]+")


class Cors:
    """The allowed origins, and the response headers for them."""

    def __init__(self, origins: str) -> None:
        """Read FANFARE_CORS_ORIGINS.

        Args:
            origins: origins separated by commas; "*" allows every origin, "" turns CORS off.

        Raises:
            StartError: an entry is not an origin that a browser could send.
        """
        self._origins = {part.strip() for part in origins.split(",") if part.strip()}
        for origin in self._origins:
            if not _ORIGIN.fullmatch(origin):
                raise StartError(
                    f"FANFARE_CORS_ORIGINS has {origin!r}, which is not an origin: write scheme "
                    "and host without a path, such as https://app.example, or * for every origin."
                )

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return the headers for a response to a request with this Origin header."""
        if not self._origins:
            return {}
        # Without Vary, a shared cache would give one origin's answer to another origin.
        if origin is None or not self._origins & {origin, "*"}:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": EXPOSED,
        }

    def preflight(self, origin: str | None, methods: Iterable[str]) -> dict[str, str] | None:
        """Return headers that allow the methods of a path; None if the origin is not allowed."""
        headers = self.headers(origin)
        if "Access-Control-Allow-Origin" not in headers:
            return None
        return headers | {
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Allow-Headers": ALLOWED,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
