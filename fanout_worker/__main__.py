"""`python -m fanout_worker`: builds the fan-out worker, runs it, and closes it."""

from __future__ import annotations

import core.runtime.early_interrupt  # noqa: F401 - before the imports that take long

# isort: split
import asyncio
from contextlib import AsyncExitStack
from functools import partial

from core.rpc.handlers import Handlers
from core.rpc.health import report_health
from core.rpc.process_metrics import process_metrics
from core.rpc.server_choice import grpc_server
from core.rpc.tls import certificates
from core.runtime.metrics_ports import Program
from core.runtime.process import run
from core.runtime.pulled_metrics import PulledMetric
from core.runtime.sampling import Sample
from core.runtime.start_line import log_start
from core.runtime.tasks import running
from core.runtime.tracing import Tracer
from core.runtime.tracing_choice import tracing
from core.runtime.watchdog import STUCK_SECONDS, Watchdog
from core.settings import GrpcServerKind, Settings
from core.storage.metrics import redis_connection, redis_metrics
from core.storage.postgres_pool import Database
from core.storage.retention import part_seconds
from core.storage.schema import refuse_newer_schema
from core.storage.settings_checks import postgres_check, redis_check, topic_check
from core.storage.settings_monitor import SettingsMonitor
from fanout_worker.append_only_file import AppendOnlyFile
from fanout_worker.apply import BatchApplier
from fanout_worker.batch_spans import BatchSpans
from fanout_worker.checkpoints import CheckpointTable
from fanout_worker.consumer import FanoutConsumer
from fanout_worker.dead_letters import KafkaDeadLetterQueue
from fanout_worker.followers import FollowerIndex
from fanout_worker.group_consumer import KafkaGroupConsumer
from fanout_worker.lag import Lag
from fanout_worker.metrics import worker_metrics
from fanout_worker.progress import Progress
from fanout_worker.shards import RedisShards
from fanout_worker.store import PostgresFollowerStore
from fanout_worker.topic import KafkaTopicInspector
from fanout_worker.verification import Verification
from fanout_worker.verification_servers import (
    KafkaVerificationTopic,
    PostgresVerificationStore,
    RedisVerificationCache,
)
from fanout_worker.verifier import Verifier
from fanout_worker.waiting_letters import WaitingLetters
from gateway.metrics_server import Probes, serving_metrics

# How often the dead letters are counted for the metrics.
LETTERS_SECONDS = 30.0


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Apply the feed to Redis, and report health, until stopping is set."""
    log_start(settings, Program.WORKER)
    async with AsyncExitStack() as stack:
        tracer = await stack.enter_async_context(tracing(settings, Program.WORKER))
        redis = redis_check(settings)
        checks = SettingsMonitor(
            {
                "Postgres": postgres_check(settings),
                "Redis": redis,
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
        watchdog = Watchdog()
        probes = Probes(
            server.is_serving,
            {"fan-out": watchdog.trouble, "settings of servers": checks.trouble},
            # A call to a server may take this long, which is no reason to restart the worker.
            partial(watchdog.stuck, STUCK_SECONDS + 2 * settings.silence_seconds),
        )
        await stack.enter_async_context(serving_metrics(settings, Program.WORKER, tls, probes))
        await server.start()
        stack.push_async_callback(server.drain)

        consumer, own, samples = _build_consumer(settings, watchdog, tracer, stack)
        consumer.start()
        stack.push_async_callback(asyncio.to_thread, consumer.stop)
        own += [redis_connection(partial(checks.answers, "Redis")), *redis_metrics(redis)]
        stack.enter_context(process_metrics(settings, tls, checks, own, samples))
        if settings.verify_per_minute:
            verifier = await _build_verifier(settings, stack)
            await stack.enter_async_context(running(verifier.run()))

        append_only_file = AppendOnlyFile(
            settings.redis_address(), settings.redis_prefix, part_seconds(settings.retention_days)
        )
        stack.callback(append_only_file.close)
        await stack.enter_async_context(running(append_only_file.run()))

        stack.push_async_callback(server.set_serving, serving=False)
        health = report_health(server, watchdog.trouble, checks.trouble)
        await stack.enter_async_context(running(health))
        await stopping.wait()


def _build_consumer(
    settings: Settings, watchdog: Watchdog, tracer: Tracer | None, stack: AsyncExitStack
) -> tuple[FanoutConsumer, list[PulledMetric], list[Sample[object]]]:
    """Return a consumer that is not started, its metrics, and what they look up.

    The exit stack closes the connections.
    """
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
    lag = Lag()
    progress = Progress(group, watchdog, lag)
    followers = FollowerIndex(store, settings.cached_followers)
    applier = BatchApplier(
        shards,
        store,
        dead_letters,
        checkpoints,
        followers,
        progress,
        settings.timeline_ttl_seconds(),
        BatchSpans(tracer),
    )
    letters = WaitingLetters(bootstrap_servers, topic)
    waiting = Sample("dead letters", letters.count, LETTERS_SECONDS)
    metrics = worker_metrics(lag, followers.count_authors, lambda: waiting.latest)
    consumer = FanoutConsumer(group, checkpoints, applier, progress)
    return consumer, list(metrics), [waiting]


async def _build_verifier(settings: Settings, stack: AsyncExitStack) -> Verifier:
    """Return a verifier; the exit stack closes its connections."""
    timeout_seconds = settings.silence_seconds
    primary = Database(
        settings.primary_dsn(), "verifier", silence_seconds=timeout_seconds, max_size=1
    )
    stack.push_async_callback(primary.close)
    await primary.open()
    cache = RedisVerificationCache(settings.redis_address(), settings.redis_prefix, timeout_seconds)
    stack.push_async_callback(cache.close)
    inspector = KafkaTopicInspector(settings.kafka_address(), settings.topic, timeout_seconds)
    store, topic = PostgresVerificationStore(primary), KafkaVerificationTopic(inspector)
    verification = Verification(cache, store, topic, sleep=asyncio.sleep)
    return Verifier(cache, store, verification, settings.verify_per_minute)


if __name__ == "__main__":
    run(serve)
