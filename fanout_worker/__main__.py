"""`python -m fanout_worker`: configure, build, work, drain."""

from __future__ import annotations

import asyncio

from core.rpc.health import reporting
from core.rpc.server import Server
from core.rpc.tls import certificates
from core.runtime.process import run
from core.settings import Settings
from core.storage.settings_checks import postgres_check, redis_check, topic_check
from core.storage.settings_monitor import SettingsMonitor
from fanout_worker.consumer import Worker
from fanout_worker.followers import FollowerArrays
from fanout_worker.shards import Shards
from fanout_worker.store import Store


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Apply the feed to the timelines, and answer for health, until stopping is set."""
    checks = SettingsMonitor(
        {
            "Postgres": postgres_check(settings),
            "Redis": redis_check(settings),
            "Kafka": topic_check(settings),
        }
    )
    store = Store(settings.primary_dsn(), settings.replica_dsn(), settings.silence_seconds)
    worker = Worker(
        settings,
        store,
        Shards(settings.redis_address(), settings.timeline_length, settings.silence_seconds),
        FollowerArrays(store.followers, store.follower_pages, settings.cached_followers),
    )
    server = Server(
        settings.bind,
        settings.worker_port,
        certificates=certificates(settings.tls_dir),
        shared=settings.share_ports,
    )

    await checks.start()
    await server.start()
    worker.start()
    async with reporting(server, worker.watchdog.trouble, checks.trouble):
        await stopping.wait()
    await checks.stop()
    await server.set_serving(serving=False)
    await asyncio.to_thread(worker.stop)
    await server.drain()


if __name__ == "__main__":
    run(serve)
