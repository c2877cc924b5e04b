"""How the commands call the services: as a service, where callers must say who they are."""

from __future__ import annotations

from typing import Any

import grpc

from core.auth.access_tokens import Caller, Signer
from core.auth.authorizer import METADATA_KEY
from core.rpc.tls import open_channel
from core.settings import Settings

CALLER = Caller(service="fanfare")


def service_channel(settings: Settings, target: str) -> grpc.Channel:
    """Return a channel to the target, whose calls carry a token where there are keys.

    Whoever can read the private keys can be anybody: no more is given away here.
    """
    channel = open_channel(target, settings.tls_dir)
    if settings.auth_keys is None:
        return channel
    return grpc.intercept_channel(channel, _Authorize(Signer(settings.auth_keys)))


class _Authorize(grpc.UnaryUnaryClientInterceptor):
    """Signs a token for each call: a load may take longer than any is valid."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        """Make the call with the token."""
        token, _ = self._signer.sign(CALLER)
        metadata = [*(client_call_details.metadata or ()), (METADATA_KEY, f"Bearer {token}")]
        return continuation(client_call_details._replace(metadata=metadata), request)
