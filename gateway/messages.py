"""What is changed of an HTTP message before aiohttp makes a request of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

# The longest of ours has a user's name; the router takes the square of a path's slashes.
MAX_PATH_BYTES = 2048
# In place of a target that cannot be looked at; there is no such path.
_UNREADABLE = URL("/…")

Make = Callable[..., web.BaseRequest]


def guarded(make: Make) -> Make:
    """Return a maker of requests that is not stopped by odd messages.

    One whose path is too long, or whose host is none, is as one for a path that is not there; and
    an Expect that is not known is left out, as RFC 9110, section 10.1.1, lets a server do.
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
            # Raised outside of what aiohttp catches: the connection would hang for ever.
            return make(message._replace(url=_UNREADABLE), *parts)

    return make_guarded
