"""`python -m write_service`: configure, build, serve, drain."""

from __future__ import annotations

import core.runtime.early_interrupt  # noqa: F401 - before the imports that take long

# isort: split
import asyncio
from contextlib import AsyncExitStack
from functools import partial

from fanfare.auth.v1 import auth_pb2
from fanfare.write.v1 import write_pb2

from core.auth.access_tokens import Signer
from core.auth.authentication import authentication
from core.rpc.handlers import Handlers
from core.rpc.health import report_health
from core.rpc.observed_calls import observing
from core.rpc.process_metrics import process_metrics
from core.rpc.server import GrpcServer
from core.rpc.server_choice import grpc_server
from core.rpc.tls import certificates
from core.runtime.metrics_ports import Program
from core.runtime.process import run, serving
from core.runtime.sampling import Sample
from core.runtime.start_line import log_start
from core.runtime.tasks import running
from core.runtime.tracing import Tracer
from core.settings import Settings
from core.storage.metrics import postgres_metrics, redis_connection
from core.storage.postgres_pool import Database
from core.storage.schema import refuse_newer_schema
from core.storage.settings_checks import postgres_check, topic_check
from core.storage.settings_monitor import SettingsMonitor
from gateway.cors import Cors
from gateway.demo_page import page_origins
from gateway.listener import Listener
from gateway.metrics_server import Probes, serving_metrics
from gateway.server import RestServer
from write_service.account_security import AccountSecurity
from write_service.auth_service import AuthService, NoAuthService
from write_service.erasure import Eraser
from write_service.group_commit import GroupCommit
from write_service.kafka_publisher import KafkaPublisher
from write_service.metrics import outbox_metrics
from write_service.outbox_size import OutboxMeter
from write_service.passwords import Passwords
from write_service.postgres_outbox import PostgresOutbox
from write_service.relay import HEALTH_NAME, Relay
from write_service.same_database import refuse_other_database
from write_service.service import WriteService
from write_service.session_store import SessionStore
from write_service.store import CommandStore

# How often the process with the active relay looks up the size of the outbox for the metrics.
OUTBOX_SECONDS = 5.0


async def serve(settings: Settings, stopping: asyncio.Event) -> None:  # noqa: PLR0915 - all parts
    """Serve the commands over gRPC and REST, and relay their events, until stopping is set."""
    log_start(settings, Program.WRITE)
    async with AsyncExitStack() as stack:
        observer, tracer = await stack.enter_async_context(observing(settings, Program.WRITE))
        checks = SettingsMonitor(
            {"Postgres": postgres_check(settings), "Kafka": topic_check(settings)}
        )
        stack.push_async_callback(checks.stop)
        database = Database(
            settings.primary_dsn(), "write", silence_seconds=settings.silence_seconds
        )
        stack.push_async_callback(database.close)
        store = CommandStore(database, settings.pull_followers, settings.max_following)
        passwords = Passwords()
        stack.callback(passwords.close)
        tweets = GroupCommit(store.create_tweets)
        relay = _relay(settings, tracer)

        authorizer = security = None
        sessions: AuthService | NoAuthService = NoAuthService()
        if settings.auth_keys is not None:
            signer = Signer(settings.auth_keys)
            parts = await stack.enter_async_context(
                authentication(settings, settings.auth_keys, "write", store)
            )
            authorizer, ended, log = parts.authorizer, parts.ended, parts.log
            session_store = SessionStore(database)
            sessions = AuthService(session_store, passwords, signer, parts.keys, ended, log)
            security = AccountSecurity(session_store, passwords, ended, log)
        handlers = Handlers(authorizer, observer)
        handlers.add_service(
            write_pb2.DESCRIPTOR.services_by_name["WriteService"],
            WriteService(store, tweets, passwords, security),
        )
        handlers.add_service(auth_pb2.DESCRIPTOR.services_by_name["AuthService"], sessions)

        tls = certificates(settings.tls_dir)
        shared = settings.share_ports
        grpc = grpc_server(
            settings.grpc_server,
            settings.bind,
            settings.write_port,
            handlers,
            tls,
            shared=shared,
        )
        # The relay has a health entry of its own, because commands work without it.
        grpc.add_part(HEALTH_NAME)
        probes = Probes(
            grpc.is_serving,
            {
                "Postgres": database.trouble,
                "relay": relay.watchdog.trouble,
                "settings of servers": checks.trouble,
            },
        )
        await stack.enter_async_context(serving_metrics(settings, Program.WRITE, tls, probes))
        servers: list[GrpcServer | RestServer] = [grpc]
        if settings.rest_write_port:
            https = None if tls is None else tls.http_context()
            listener = Listener(settings.bind, settings.rest_write_port, https, shared=shared)
            cors = Cors(",".join([settings.cors_origins, *page_origins(settings)]))
            servers.append(RestServer(listener, handlers, grpc.is_serving, cors))

        await refuse_newer_schema(settings.primary_dsn())
        await refuse_other_database(settings.primary_dsn(), settings.session_dsn())
        await checks.start()
        await database.open()
        meter = OutboxMeter(
            settings.primary_dsn(), settings.silence_seconds, lambda: relay.is_leader
        )
        stack.callback(meter.close)
        size = Sample("outbox", meter.size, OUTBOX_SECONDS)
        own = [
            *postgres_metrics({"primary": database}),
            *outbox_metrics(lambda: relay.is_leader, lambda: size.latest),
        ]
        if authorizer is not None:
            own.append(redis_connection(lambda: authorizer.limits.is_up))
        stack.enter_context(process_metrics(settings, tls, checks, own, [size]))
        relay.start()
        stack.push_async_callback(asyncio.to_thread, relay.stop)
        tweets.start()
        # Before the relay stops, so that it sends the events of the last tweets.
        stack.push_async_callback(tweets.close)
        await stack.enter_async_context(running(Eraser(database).run()))
        await stack.enter_async_context(serving(*servers))
        unsafe = partial(checks.trouble, "Postgres")
        await stack.enter_async_context(running(report_health(grpc, database.trouble, unsafe)))
        await stack.enter_async_context(
            running(report_health(grpc, relay.watchdog.trouble, checks.trouble, part=HEALTH_NAME))
        )
        await stopping.wait()


def _relay(settings: Settings, tracer: Tracer | None) -> Relay:
    silence = settings.silence_seconds
    return Relay(
        partial(PostgresOutbox, settings.session_dsn(), silence, settings.retention_days),
        partial(KafkaPublisher, settings.kafka_address(), settings.topic, silence, tracer),
    )


if __name__ == "__main__":
    run(serve)
