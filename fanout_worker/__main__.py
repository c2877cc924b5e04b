"""`python -m fanout_worker`: builds the fan-out worker, runs it, and closes it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from core.rpc.handlers import Handlers
from core.rpc.health import reporting
from core.rpc.server_choice import grpc_server
from core.rpc.tls import certificates
from core.runtime.metrics_ports import Program, metrics_port
from core.runtime.process import run
from core.runtime.tasks import running
from core.runtime.watchdog import Watchdog
from core.settings import GrpcServerKind, Settings
from core.storage.retention import part_seconds
from core.storage.schema import refuse_newer_schema
from core.storage.settings_checks import postgres_check, redis_check, topic_check
from core.storage.settings_monitor import SettingsMonitor
from fanout_worker.append_only_file import AppendOnlyFile
from fanout_worker.apply import BatchApplier
from fanout_worker.checkpoints import CheckpointTable
from fanout_worker.consumer import FanoutConsumer
from fanout_worker.dead_letters import KafkaDeadLetterQueue
from fanout_worker.followers import FollowerIndex
from fanout_worker.group_consumer import KafkaGroupConsumer
from fanout_worker.progress import Progress
from fanout_worker.shards import RedisShards
from fanout_worker.store import PostgresFollowerStore
from fanout_worker.topic import KafkaTopicInspector
from gateway.metrics_server import serving_metrics


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Apply the feed to Redis, and report health, until stopping is set."""
    async with AsyncExitStack() as stack:
        checks = SettingsMonitor(
            {
                "Postgres": postgres_check(settings),
                "Redis": redis_check(settings),
                "Kafka": topic_check(settings),
            }
        )
        stack.push_async_callback(checks.stop)
        await refuse_newer_schema(settings.primary_dsn())
        await checks.start()

        tls = certificates(settings.tls_dir)
        server = grpc_server(
            GrpcServerKind.GRPCIO,
            settings.bind,
            settings.worker_port,
            Handlers(),
            tls,
            shared=settings.share_ports,
        )
        if port := metrics_port(settings, Program.WORKER):
            await stack.enter_async_context(serving_metrics(settings, port, tls, server.is_serving))
        await server.start()
        stack.push_async_callback(server.drain)

        watchdog = Watchdog()
        consumer = _build_consumer(settings, watchdog, stack)
        consumer.start()
        stack.push_async_callback(asyncio.to_thread, consumer.stop)

        append_only_file = AppendOnlyFile(
            settings.redis_address(), settings.redis_prefix, part_seconds(settings.retention_days)
        )
        stack.callback(append_only_file.close)
        await stack.enter_async_context(running(append_only_file.run()))

        stack.push_async_callback(server.set_serving, serving=False)
        await stack.enter_async_context(reporting(server, watchdog.trouble, checks.trouble))
        await stopping.wait()


def _build_consumer(
    settings: Settings, watchdog: Watchdog, stack: AsyncExitStack
) -> FanoutConsumer:
    """Return a consumer that is not started; the exit stack closes its connections."""
    timeout_seconds = settings.silence_seconds
    bootstrap_servers, topic = settings.kafka_address(), settings.topic
    store = PostgresFollowerStore(settings.primary_dsn(), settings.replica_dsn(), timeout_seconds)
    stack.callback(store.close)
    shards = RedisShards(
        settings.redis_address(), settings.redis_prefix, settings.timeline_length, timeout_seconds
    )
    stack.callback(shards.close)
    dead_letters = KafkaDeadLetterQueue(bootstrap_servers, topic)
    stack.callback(dead_letters.close)
    group = KafkaGroupConsumer(bootstrap_servers, topic, timeout_seconds)
    # Leaving the group can take seconds.
    stack.push_async_callback(asyncio.to_thread, group.close)

    inspector = KafkaTopicInspector(bootstrap_servers, topic, timeout_seconds)
    checkpoints = CheckpointTable(shards, inspector, store)
    progress = Progress(group, watchdog)
    applier = BatchApplier(
        shards,
        store,
        dead_letters,
        checkpoints,
        FollowerIndex(store, settings.cached_followers),
        progress,
        settings.timeline_ttl_seconds(),
    )
    return FanoutConsumer(group, checkpoints, applier, progress)


if __name__ == "__main__":
    run(serve)
