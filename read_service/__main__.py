"""`python -m read_service`: configure, build, serve, drain."""

from __future__ import annotations

import asyncio

from fanfare.read.v1 import read_pb2

from core.auth.access_tokens import PublicKeys
from core.auth.authorizer import Authorizer
from core.rpc.server import Server
from core.rpc.tls import certificates
from core.runtime.prefork import run_prefork
from core.settings import Settings
from core.storage.postgres import Database
from core.storage.settings_checks import redis_check
from core.storage.settings_monitor import SettingsMonitor
from read_service.cache import CacheConnection
from read_service.databases import Databases
from read_service.history_watch import HistoryWatch
from read_service.home_timelines import HomeTimelines
from read_service.list_building import BUILD_SECONDS, ListBuilder
from read_service.lists import ListReader
from read_service.local_tweet_cache import MAX_TWEETS, LocalTweetCache
from read_service.service import ReadService
from read_service.store import PostgresStore
from read_service.timeline_cache import RedisTimelineCache
from read_service.tweet_cache import RedisTweetCache
from read_service.tweets import TweetReader


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve the queries until stopping is set."""
    checks = SettingsMonitor({"Redis": redis_check(settings)})
    silence = settings.silence_seconds
    primary = Database(settings.primary_dsn(), "read", silence_seconds=silence)
    replica = primary
    if settings.replica_dsn() != settings.primary_dsn():
        replica = Database(settings.replica_dsn(), "read", silence_seconds=silence)
    length, ttl_seconds = settings.timeline_length, settings.timeline_ttl_seconds()
    local = LocalTweetCache(MAX_TWEETS)
    redis = CacheConnection(settings.redis_address(), settings.redis_prefix, local.forget)
    cache = RedisTimelineCache(redis, ttl_seconds, BUILD_SECONDS)
    databases = Databases(primary, replica)
    store = PostgresStore(databases)
    watch = HistoryWatch(primary, replica, redis, databases, settings.max_replica_lag)
    tweets = TweetReader(RedisTweetCache(redis, local, ttl_seconds), local, store)
    lists = ListReader(cache, ListBuilder(cache, store, length), length)
    home = HomeTimelines(cache, lists, store, tweets, length)
    authorizer = (
        Authorizer.of(settings, PublicKeys(settings.auth_keys)) if settings.auth_keys else None
    )
    shared = settings.share_ports or settings.read_processes > 1
    server = Server(
        settings.bind, settings.read_port, authorizer, certificates(settings.tls_dir), shared=shared
    )
    service = read_pb2.DESCRIPTOR.services_by_name["ReadService"]
    server.add_service(
        service, ReadService(store, tweets, home, knows_callers=authorizer is not None)
    )

    # Only to have them logged: Postgres can answer every read.
    await checks.start(refuse=False)
    await primary.open()
    if replica is not primary:
        await replica.open()
    await watch.check()
    watching = asyncio.create_task(watch.run())
    await server.start()
    await stopping.wait()
    await checks.stop()
    await server.drain()
    watching.cancel()
    redis.close()
    await replica.close()
    await primary.close()


if __name__ == "__main__":
    run_prefork(serve, "read_service.__main__")
