"""HTTP messages that aiohttp cannot turn into a request, made harmless before it tries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

# Far longer than any path of the contract. aiohttp's router takes time proportional to the square
# of the number of slashes.
MAX_PATH_BYTES = 2048
# Replaces a request target that cannot be used. No route has this path.
_UNREADABLE = URL("/…")

Make = Callable[..., web.BaseRequest]


def guarded(make: Make) -> Make:
    """Wrap aiohttp's request factory so that it copes with every message.

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
            # aiohttp does not catch this, and would never answer the request.
            return make(message._replace(url=_UNREADABLE), *parts)

    return make_guarded
