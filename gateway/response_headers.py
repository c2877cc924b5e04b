"""The HTTP headers that every answer of the REST API has."""

from __future__ import annotations

# Long enough that browsers do not forget it between two visits.
HSTS_SECONDS = 365 * 86_400


def fixed_lines(*, is_https: bool, cache_control: str = "no-store") -> str:
    """Return the lines of the headers that are the same for successes and for errors.

    No cache may store an answer of the API: most depend on who asks, some hold tokens, and all may
    change with the next command. No browser may guess another content type.

    Args:
        is_https: whether the port speaks TLS. Browsers then use nothing else for this host.
        cache_control: what caches may do.
    """
    lines = f"Cache-Control: {cache_control}\r\nX-Content-Type-Options: nosniff\r\n"
    if is_https:
        lines += f"Strict-Transport-Security: max-age={HSTS_SECONDS}\r\n"
    return lines
