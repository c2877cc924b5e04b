"""What a service needs where authentication is on, put together for both services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from core.auth.access_tokens import PublicKeys, Verifier
from core.auth.addresses import ClientAddresses, parse_networks
from core.auth.authorizer import Accounts, Authorizer
from core.auth.ended_tokens import EndedTokens
from core.auth.rate_limits import RateLimiter
from core.auth.security_log import SecurityLog
from core.runtime.security_log_file import open_security_log
from core.runtime.tasks import running
from core.settings import Settings
from core.storage.postgres_pool import Database


@dataclass(frozen=True)
class Authentication:
    """The collaborators that authenticate callers and authorize their calls."""

    keys: PublicKeys
    ended: EndedTokens
    log: SecurityLog
    authorizer: Authorizer


@asynccontextmanager
async def authentication(
    settings: Settings, keys: Path, service: str, accounts: Accounts | None = None
) -> AsyncIterator[Authentication]:
    """Yield the collaborators, whose connections and tasks end with the context.

    Args:
        settings: the settings of the process.
        keys: the folder of the public keys.
        service: the name of the service.
        accounts: needed if an access rule of the service names a tweet or administrators.

    Raises:
        SettingsError: a setting or a key cannot be used.
    """
    public_keys = PublicKeys(keys)
    addresses = ClientAddresses(parse_networks(settings.trusted_proxies))
    log = SecurityLog(service, open_security_log(settings.security_log), addresses)
    dsn, silence = settings.primary_dsn(), settings.silence_seconds
    ended = EndedTokens(Database(dsn, f"{service}-tokens", silence_seconds=silence, max_size=1))
    limits = RateLimiter(settings.redis_address(), settings.redis_prefix)
    with closing(limits):
        async with running(log.run()), ended.watching():
            verifier = Verifier(public_keys, ended.is_ended)
            services = settings.service_names()
            authorizer = Authorizer(verifier, limits, addresses, log, services, accounts)
            yield Authentication(public_keys, ended, log, authorizer)
