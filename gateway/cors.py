"""Which web pages of other origins may call the gateway."""

from __future__ import annotations

import re
from collections.abc import Iterable

from core.runtime.process import StartError

EXPOSED = "Fanfare-Consistency-Token, Retry-After"
PREFLIGHT_SECONDS = 600
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s]+")


class Cors:
    """The configured origins: comma-separated, "*" for all; none turns CORS off."""

    def __init__(self, origins: str) -> None:
        """Raise StartError for what no browser would ever send as an Origin."""
        self._origins = {part.strip() for part in origins.split(",") if part.strip()}
        for origin in self._origins:
            if not _ORIGIN.fullmatch(origin):
                raise StartError(
                    f"FANFARE_CORS_ORIGINS has {origin!r}, which is no origin: write scheme and "
                    "host without a path, such as https://app.example, or * for every origin."
                )

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return the headers of an answer to a request with that Origin."""
        if not self._origins:
            return {}
        # Without Vary a shared cache would hand one origin's answer to another.
        if origin is None or not self._origins & {origin, "*"}:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": EXPOSED,
        }

    def preflight(self, origin: str | None, methods: Iterable[str]) -> dict[str, str] | None:
        """Return the headers that permit the methods of a path, None where they are not."""
        headers = self.headers(origin)
        if "Access-Control-Allow-Origin" not in headers:
            return None
        return headers | {
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
