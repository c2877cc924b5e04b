"""A REST call as the authorizer and the method see it."""

from __future__ import annotations

from aiohttp import hdrs, web

from core.auth.access_tokens import MAX_TOKEN_BYTES
from core.auth.addresses import FORWARDED_KEY
from core.auth.authorizer import METADATA_KEY
from core.auth.call_context import UNKNOWN_CALLER
from core.errors import UnauthenticatedError

# Room for the longest access token and its scheme.
MAX_AUTHORIZATION_BYTES = MAX_TOKEN_BYTES + 16


class HttpContext:
    """The core.auth.call_context.Context of a REST call, made from its HTTP request."""

    __slots__ = ("address", "caller", "metadata")

    certificate_names = ()
    """Always empty: HTTPS does not ask clients for a certificate."""

    def __init__(self, request: web.Request) -> None:
        """Read the headers that say who calls.

        Raises:
            UnauthenticatedError: Authorization is too long for a token, or has characters other
                than printable ASCII, which gRPC metadata cannot hold either.
        """
        self.caller = UNKNOWN_CALLER
        self.address = request.remote or "unknown"
        self.metadata = [
            (FORWARDED_KEY, value) for value in request.headers.getall(FORWARDED_KEY, [])
        ]
        authorization = request.headers.getall(hdrs.AUTHORIZATION, [])
        if sum(map(len, authorization)) > MAX_AUTHORIZATION_BYTES:
            raise UnauthenticatedError
        for value in authorization:
            if not (value.isascii() and value.isprintable()):
                raise UnauthenticatedError
            self.metadata.append((METADATA_KEY, value))
