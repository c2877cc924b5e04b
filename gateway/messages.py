"""Changes HTTP messages that aiohttp would fail on, before it makes requests of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

# Far longer than any path of the contract. The time that aiohttp's router takes grows with the
# square of the number of slashes.
MAX_PATH_BYTES = 2048
# Replaces a request target that cannot be used. No route has this path.
_UNREADABLE = URL("/…")

Make = Callable[..., web.BaseRequest]


def guarded(make: Make) -> Make:
    """Wrap aiohttp's request factory so that it returns a request for every message.

    A path that is too long, or a target with an invalid host, becomes a path that no route has. An
    unknown Expect header is removed, which RFC 9110, section 10.1.1, allows.
    """

    def make_guarded(message: RawRequestMessage, *parts: Any) -> web.BaseRequest:
        if len(message.url.raw_path) > MAX_PATH_BYTES:
            message = message._replace(url=_UNREADABLE)
        if message.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
            headers = CIMultiDict(message.headers)
            del headers[hdrs.EXPECT]
            message = message._replace(headers=CIMultiDictProxy(headers))
        try:
            return make(message, *parts)
        except ValueError:
            # The target has an invalid host. aiohttp does not catch this, and would never answer.
            return make(message._replace(url=_UNREADABLE), *parts)

    return make_guarded
