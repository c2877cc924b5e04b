"""`python -m read_service`: configure, build, serve, drain."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from fanfare.read.v1 import read_pb2

from core.auth.access_tokens import PublicKeys, Verifier
from core.auth.addresses import parse_networks
from core.auth.authorizer import Authorizer
from core.auth.rate_limits import Limits
from core.rpc.handlers import Handlers
from core.rpc.server import GrpcServer
from core.rpc.tls import certificates
from core.runtime.prefork import run_prefork
from core.runtime.process import serving
from core.runtime.tasks import running
from core.settings import Settings
from core.storage.inspection import redis_check
from core.storage.postgres import Database
from core.storage.server_checks import ServerChecks
from gateway.cors import Cors
from gateway.listener import Listener
from gateway.server import RestServer
from read_service.cache import Cache
from read_service.history_watch import HistoryWatch
from read_service.home import HomeTimelines
from read_service.lists import Lists
from read_service.service import ReadService
from read_service.store import Store
from read_service.tweets import Tweets

# Longer than any build takes: then its list may be taken from it.
BUILD_SECONDS = 10.0


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve the queries over gRPC and REST until stopping is set."""
    async with AsyncExitStack() as stack:
        checks = ServerChecks({"Redis": redis_check(settings)})
        stack.push_async_callback(checks.stop)
        silence = settings.silence_seconds
        primary = Database(settings.primary_dsn(), "read", silence_seconds=silence)
        stack.push_async_callback(primary.close)
        replica = primary
        if settings.replica_dsn() != settings.primary_dsn():
            replica = Database(settings.replica_dsn(), "read", silence_seconds=silence)
            stack.push_async_callback(replica.close)
        cache = Cache(
            settings.redis_address(),
            settings.redis_prefix,
            settings.timeline_ttl_seconds(),
            BUILD_SECONDS,
        )
        stack.callback(cache.close)
        store = Store(primary, replica)
        watch = HistoryWatch(primary, replica, cache, store, settings.max_replica_lag)
        tweets = Tweets(cache, store)
        lists = Lists(cache, store, settings.timeline_length, BUILD_SECONDS)
        home = HomeTimelines(cache, lists, store, tweets, settings.timeline_length)

        authorizer = None
        if settings.auth_keys is not None:
            limits = Limits(settings.redis_address(), settings.redis_prefix)
            stack.push_async_callback(limits.close)
            authorizer = Authorizer(
                Verifier(PublicKeys(settings.auth_keys)),
                limits,
                parse_networks(settings.trusted_proxies),
                settings.service_names(),
            )
        handlers = Handlers(authorizer)
        handlers.add_service(
            read_pb2.DESCRIPTOR.services_by_name["ReadService"],
            ReadService(store, tweets, home, knows_callers=authorizer is not None),
        )

        tls = certificates(settings.tls_dir)
        shared = settings.share_ports or settings.read_processes > 1
        grpc = GrpcServer(settings.bind, settings.read_port, handlers, tls, shared=shared)
        servers: list[GrpcServer | RestServer] = [grpc]
        if settings.rest_read_port:
            https = None if tls is None else tls.http_context()
            listener = Listener(settings.bind, settings.rest_read_port, https, shared=shared)
            cors = Cors(settings.cors_origins)
            servers.append(RestServer(listener, handlers, grpc.is_serving, cors))

        # What the checks find is only logged: Postgres can answer every read.
        await checks.start(refuse=False)
        await primary.open()
        if replica is not primary:
            await replica.open()
        await watch.check()
        await stack.enter_async_context(running(watch.run()))
        await stack.enter_async_context(serving(*servers))
        await stopping.wait()


if __name__ == "__main__":
    run_prefork(serve, "read_service.__main__")
