"""A REST call as the authorizer and the method see it."""

from __future__ import annotations

from aiohttp import hdrs, web

from core.auth.access_tokens import MAX_TOKEN_BYTES
from core.auth.addresses import FORWARDED_KEY
from core.auth.authorizer import METADATA_KEY
from core.auth.call_context import UNKNOWN_CALLER

# Room for the longest access token and its scheme.
MAX_AUTHORIZATION_BYTES = MAX_TOKEN_BYTES + 16
# A token is text, so these bytes are not one.
_UNUSABLE = b""


class HttpContext:
    """The core.auth.call_context.Context of a REST call, made from its HTTP request."""

    __slots__ = ("address", "caller", "is_authorization_usable", "metadata")

    certificate_names = ()
    """Always empty: HTTPS does not ask clients for a certificate."""

    def __init__(self, request: web.BaseRequest) -> None:
        """Read the headers that say who calls.

        An Authorization that is too long for a token, or has characters other than printable ASCII,
        which gRPC metadata cannot hold either, is replaced by one that authenticates nobody.
        """
        self.caller = UNKNOWN_CALLER
        self.address = request.remote or "unknown"
        self.metadata: list[tuple[str, str | bytes]] = [
            (FORWARDED_KEY, value) for value in request.headers.getall(FORWARDED_KEY, [])
        ]
        authorization = request.headers.getall(hdrs.AUTHORIZATION, [])
        self.is_authorization_usable = _is_usable(authorization)
        given = authorization if self.is_authorization_usable else [_UNUSABLE]
        self.metadata += [(METADATA_KEY, value) for value in given]


def _is_usable(authorization: list[str]) -> bool:
    is_short = sum(map(len, authorization)) <= MAX_AUTHORIZATION_BYTES
    return is_short and all(value.isascii() and value.isprintable() for value in authorization)
