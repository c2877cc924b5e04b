"""What stands for Redis and Postgres in tests of authentication."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from helpers.grpc_server import Unlimited

from core.auth.access_tokens import Caller, PublicKeys, Verifier
from core.auth.addresses import ClientAddresses
from core.auth.authorizer import Accounts, Authorizer
from core.auth.rate_limits import RateLimiter
from core.auth.security_log import SecurityLog


def verifier(folder: Path) -> Verifier:
    """Return a verifier of the keys in a folder, where no token ends before it expires."""
    return Verifier(PublicKeys(folder), lambda _: False)


def authorizer(
    folder: Path,
    *,
    limits: RateLimiter | None = None,
    services: Sequence[str] = (),
    accounts: Accounts | None = None,
    log: Callable[[str], None] = lambda _: None,
    is_ended: Callable[[Caller], bool] = lambda _: False,
) -> Authorizer:
    """Return an authorizer with the keys in a folder, by default without rate limits."""
    addresses = ClientAddresses(())
    return Authorizer(
        Verifier(PublicKeys(folder), is_ended),
        limits or Unlimited(),
        addresses,
        SecurityLog("test", log, addresses),
        services,
        accounts,
    )
