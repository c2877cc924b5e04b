"""`python -m read_service`: configure, build, serve, drain."""

from __future__ import annotations

import core.runtime.early_interrupt  # noqa: F401 - before the imports that take long

# isort: split
import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from fanfare.read.v1 import read_pb2

from core.auth.authentication import authentication
from core.rpc.handlers import Handlers
from core.rpc.health import report_health
from core.rpc.observed_calls import observing
from core.rpc.process_metrics import process_metrics
from core.rpc.server import GrpcServer
from core.rpc.server_choice import grpc_server
from core.rpc.streams import Streams
from core.rpc.tls import Certificates, certificates
from core.runtime.metrics_ports import Program
from core.runtime.prefork import run_prefork
from core.runtime.process import serving
from core.runtime.start_line import log_start
from core.runtime.tasks import running
from core.settings import Settings
from core.storage.metrics import postgres_metrics, redis_connection, redis_metrics
from core.storage.postgres_pool import Database
from core.storage.schema import refuse_newer_schema
from core.storage.settings_checks import redis_check
from core.storage.settings_monitor import SettingsMonitor
from gateway.cors import Cors
from gateway.demo_page import DemoPage
from gateway.listener import Listener
from gateway.metrics_server import Probes, serving_metrics
from gateway.server import RestServer
from read_service.cache import CacheConnection
from read_service.databases import Databases
from read_service.first_pages import FirstPages
from read_service.history_watch import HistoryWatch
from read_service.home_timelines import HomeTimelines
from read_service.list_building import BUILD_SECONDS, ListBuilder
from read_service.lists import ListReader
from read_service.local_timelines import MAX_BYTES, LocalTimelines
from read_service.local_tweet_cache import MAX_TWEETS, LocalTweetCache
from read_service.metrics import local_metrics, replica_metric, watches_metric
from read_service.readiness import unanswerable
from read_service.service import ReadService
from read_service.store import PostgresStore
from read_service.timeline_cache import RedisTimelineCache
from read_service.tweet_cache import RedisTweetCache
from read_service.tweets import TweetReader
from read_service.watch_lanes import ReadLanes
from read_service.watch_reading import WatchReader
from read_service.watched_pages import WatchIndex
from read_service.watches import Watches


async def serve(settings: Settings, stopping: asyncio.Event) -> None:  # noqa: PLR0915 - all parts
    """Serve the queries over gRPC and REST until stopping is set."""
    log_start(settings, Program.READ)
    async with AsyncExitStack() as stack:
        observer, _ = await stack.enter_async_context(observing(settings, Program.READ))
        redis_settings = redis_check(settings)
        checks = SettingsMonitor({"Redis": redis_settings})
        stack.push_async_callback(checks.stop)
        primary, replica = _build_databases(settings, stack)
        length, ttl_seconds = settings.timeline_length, settings.timeline_ttl_seconds()
        local = LocalTweetCache(MAX_TWEETS)
        timelines = LocalTimelines(local, MAX_BYTES)
        index = WatchIndex()

        def forget(keys: Sequence[bytes] | None) -> None:
            timelines.forget(keys)
            index.forget(keys)

        redis = CacheConnection(settings.redis_address(), settings.redis_prefix, forget)
        stack.callback(redis.close)
        cache = RedisTimelineCache(redis, ttl_seconds, BUILD_SECONDS)
        databases = Databases(primary, replica)
        store = PostgresStore(databases)
        watch = HistoryWatch(primary, replica, redis, databases, settings.max_replica_lag)
        tweets = TweetReader(RedisTweetCache(redis, local, ttl_seconds), local, store)
        lists = ListReader(cache, ListBuilder(cache, store, length), length)
        first = FirstPages(cache, tweets, timelines)
        home = HomeTimelines(cache, lists, store, tweets, first)
        lanes = ReadLanes(WatchReader(cache, first, home, local, index))
        watches = Watches(cache, home, index, lanes, settings.watch_heartbeat_seconds)

        authorizer = None
        if settings.auth_keys is not None:
            parts = authentication(settings, settings.auth_keys, "read")
            authorizer = (await stack.enter_async_context(parts)).authorizer
        streams = Streams(settings.max_watches, settings.watches_per_caller)
        handlers = Handlers(authorizer, observer, streams)
        handlers.add_service(
            read_pb2.DESCRIPTOR.services_by_name["ReadService"],
            ReadService(store, tweets, home, local, watches, knows_callers=authorizer is not None),
        )

        tls = certificates(settings.tls_dir)
        shared = settings.share_ports or settings.read_processes > 1
        grpc = grpc_server(
            settings.grpc_server,
            settings.bind,
            settings.read_port,
            handlers,
            tls,
            shared=shared,
        )
        used = {"Postgres": primary.trouble, "Redis": redis.trouble}
        if replica is not primary:
            used["replica of Postgres"] = replica.trouble
        probes = Probes(grpc.is_serving, used | {"settings of servers": checks.trouble})
        await stack.enter_async_context(serving_metrics(settings, Program.READ, tls, probes))
        servers: list[GrpcServer | RestServer] = [grpc]
        if settings.rest_read_port:
            servers.append(_rest_server(settings, handlers, tls, grpc.is_serving, shared=shared))

        await refuse_newer_schema(settings.primary_dsn())
        # Unsafe settings of Redis are only logged, because Postgres can answer every read.
        await checks.start(refuse=False)
        await primary.open()
        pools = {"primary": primary}
        if replica is not primary:
            pools["replica"] = replica
            await replica.open()
        own = [
            *postgres_metrics(pools),
            redis_connection(lambda: redis.is_up and checks.answers("Redis")),
            *redis_metrics(redis_settings),
            *local_metrics(local, timelines),
            replica_metric(lambda: watch.replica_lag_seconds),
            watches_metric(lambda: streams.count),
        ]
        stack.enter_context(process_metrics(settings, tls, checks, own))
        await watch.check()
        await stack.enter_async_context(running(watch.run()))
        await stack.enter_async_context(running(watches.run()))
        await stack.enter_async_context(serving(*servers))
        await stack.enter_async_context(
            running(report_health(grpc, partial(unanswerable, primary, replica, redis)))
        )
        await stopping.wait()


def _rest_server(
    settings: Settings,
    handlers: Handlers,
    tls: Certificates | None,
    is_serving: Callable[[], bool],
    *,
    shared: bool,
) -> RestServer:
    https = None if tls is None else tls.http_context()
    listener = Listener(settings.bind, settings.rest_read_port, https, shared=shared)
    page = DemoPage(settings) if settings.demo_page else None
    return RestServer(listener, handlers, is_serving, Cors(settings.cors_origins), page)


def _build_databases(settings: Settings, stack: AsyncExitStack) -> tuple[Database, Database]:
    """Return the primary and the replica, or the primary twice; the exit stack closes them."""
    silence = settings.silence_seconds
    primary = Database(settings.primary_dsn(), "read", silence_seconds=silence)
    stack.push_async_callback(primary.close)
    if settings.replica_dsn() == settings.primary_dsn():
        return primary, primary
    replica = Database(settings.replica_dsn(), "read", silence_seconds=silence)
    stack.push_async_callback(replica.close)
    return primary, replica


if __name__ == "__main__":
    run_prefork(serve, "read_service.__main__")
