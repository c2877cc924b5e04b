"""How commands call the services: with access tokens that they sign themselves, or are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from core.auth.access_tokens import Caller, Signer
from core.auth.authorizer import METADATA_KEY
from core.rpc.tls import open_channel
from core.settings import Settings
from ops.errors import OpsError

CALLER = Caller(service="fanfare")


def service_channel(
    settings: Settings, target: str, token_file: Path | None = None
) -> grpc.Channel:
    """Return a channel whose calls are authenticated, if authentication is on.

    Without a token file, they are those of a service. This gives the operator no new rights:
    anybody who can read the private keys can already sign any access token.

    Args:
        settings: the keys and certificates of the system.
        target: host:port of the service.
        token_file: a file with the access token to use instead; it is read for each call, because
            somebody may renew the token.
    """
    channel = open_channel(target, settings.tls_dir)
    if token_file is not None:
        return grpc.intercept_channel(channel, _AccessTokens(lambda: _read_token(token_file)))
    if settings.auth_keys is None:
        return channel
    signer = Signer(settings.auth_keys)
    return grpc.intercept_channel(channel, _AccessTokens(lambda: signer.sign(CALLER)[0]))


class _AccessTokens(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Adds an access token to each call: a command may outlast the validity of one."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        """Make the call with an access token in its metadata."""
        return self._call(continuation, client_call_details, request)

    def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        """Make the call with an access token in its metadata."""
        return self._call(continuation, client_call_details, request)

    def _call(self, continuation: Any, details: Any, request: Any) -> Any:
        metadata = [*(details.metadata or ()), (METADATA_KEY, f"Bearer {self._token()}")]
        return continuation(details._replace(metadata=metadata), request)


def _read_token(path: Path) -> str:
    """Return the access token that a file contains.

    Raises:
        OpsError: there is none.
    """
    try:
        token = path.read_bytes().strip().decode("ascii")
    except OSError as error:
        raise OpsError(f"cannot read {path}: {error.strerror}; name another token file") from error
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise OpsError(f"{path} does not contain an access token; write one into it, and no more")
    return token
