"""How the operator's commands call the services: with access tokens that they sign themselves."""

from __future__ import annotations

from typing import Any

import grpc

from core.auth.access_tokens import Caller, Signer
from core.auth.authorizer import METADATA_KEY
from core.rpc.tls import open_channel
from core.settings import Settings

CALLER = Caller(service="fanfare")


def service_channel(settings: Settings, target: str) -> grpc.Channel:
    """Return a channel whose calls are authenticated as a service, if authentication is on.

    This gives the operator no new rights: anybody who can read the private keys can already sign
    any access token.
    """
    channel = open_channel(target, settings.tls_dir)
    if settings.auth_keys is None:
        return channel
    return grpc.intercept_channel(channel, _AccessTokens(Signer(settings.auth_keys)))


class _AccessTokens(grpc.UnaryUnaryClientInterceptor):
    """Signs an access token for each call, because a command may outlast a token's validity."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        """Make the call with an access token in its metadata."""
        token, _ = self._signer.sign(CALLER)
        metadata = [*(client_call_details.metadata or ()), (METADATA_KEY, f"Bearer {token}")]
        return continuation(client_call_details._replace(metadata=metadata), request)
