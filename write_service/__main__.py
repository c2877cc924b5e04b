"""`python -m write_service`: configure, build, serve, drain."""

from __future__ import annotations

import asyncio
from functools import partial

from fanfare.auth.v1 import auth_pb2
from fanfare.write.v1 import write_pb2

from core.auth.access_tokens import PublicKeys, Signer
from core.auth.authorizer import Authorizer
from core.rpc.health import reporting
from core.rpc.server import Server
from core.rpc.tls import certificates
from core.runtime.process import run
from core.settings import Settings
from core.storage.postgres import Database
from core.storage.settings_checks import postgres_check, topic_check
from core.storage.settings_monitor import SettingsMonitor
from write_service.auth_service import AuthService, NoAuthService
from write_service.group_commit import GroupCommit
from write_service.kafka_publisher import KafkaPublisher
from write_service.passwords import Passwords
from write_service.postgres_outbox import PostgresOutbox
from write_service.relay import HEALTH_NAME, Relay
from write_service.service import WriteService
from write_service.session_store import SessionStore
from write_service.store import CommandStore


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve the commands, and relay their events, until stopping is set."""
    checks = SettingsMonitor({"Postgres": postgres_check(settings), "Kafka": topic_check(settings)})
    database = Database(settings.primary_dsn(), "write", silence_seconds=settings.silence_seconds)
    store = CommandStore(database, settings.pull_followers)
    tweets = GroupCommit(store.create_tweets)
    passwords = Passwords()
    relay = Relay(
        partial(PostgresOutbox, settings.primary_dsn(), settings.silence_seconds),
        partial(KafkaPublisher, settings.kafka_address(), settings.topic, settings.silence_seconds),
    )
    authorizer = None
    sessions: AuthService | NoAuthService = NoAuthService()
    if settings.auth_keys is not None:
        keys = PublicKeys(settings.auth_keys)
        authorizer = Authorizer.of(settings, keys, store)
        signer = Signer(settings.auth_keys)
        sessions = AuthService(SessionStore(database), passwords, signer, keys)
    server = Server(
        settings.bind,
        settings.write_port,
        authorizer,
        certificates(settings.tls_dir),
        shared=settings.share_ports,
    )
    server.add_service(auth_pb2.DESCRIPTOR.services_by_name["AuthService"], sessions)
    service = write_pb2.DESCRIPTOR.services_by_name["WriteService"]
    server.add_service(service, WriteService(store, tweets, passwords))
    # A part of its own: commands go on without it.
    server.add_part(HEALTH_NAME)

    await checks.start()
    await database.open()
    tweets.start()
    await server.start()
    relay.start()
    async with (
        reporting(server, partial(checks.trouble, "Postgres")),
        reporting(server, relay.watchdog.trouble, checks.trouble, part=HEALTH_NAME),
    ):
        await stopping.wait()
    await checks.stop()
    await server.drain()
    await tweets.close()
    await asyncio.to_thread(relay.stop)
    passwords.close()
    await database.close()


if __name__ == "__main__":
    run(serve)
