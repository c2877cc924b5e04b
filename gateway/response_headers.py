"""The HTTP headers that every answer of the REST API has."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import hdrs

# Long enough that browsers do not forget it between two visits.
HSTS_SECONDS = 365 * 86_400


def fixed_headers(*, is_https: bool) -> Mapping[str, str]:
    """Return the headers that are the same for successes and for errors.

    No cache may store an answer: most depend on who asks, some hold tokens, and all may change with
    the next command. No browser may guess another content type.

    Args:
        is_https: whether the port speaks TLS. Browsers then use nothing else for this host.
    """
    headers = {hdrs.CACHE_CONTROL: "no-store", "X-Content-Type-Options": "nosniff"}
    if is_https:
        headers["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"
    return headers
