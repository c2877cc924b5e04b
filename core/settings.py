"""Fanfare's settings, from environment variables and from mounted secret files."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.connection import parse_url

PREFIX = "FANFARE_"
STACK_FILE = "stack.json"
DEFAULT_SILENCE_SECONDS = 15.0
DEFAULT_RETENTION_DAYS = 7.0


class SettingsError(Exception):
    """A setting is missing or wrong; the text tells the operator which, and what to do.

    The text never repeats a value, because values may hold passwords.
    """


class GrpcServerKind(StrEnum):
    """Which server carries the gRPC calls of the write service and the read service."""

    GRPCIO = "grpcio"
    NATIVE = "native"


class LogFormat(StrEnum):
    """What the lines of the log look like."""

    TEXT = "text"
    JSON = "json"


class ReadBy:
    """The programs that read a setting; a test compares them with the code.

    "write", "read" and "worker" are the three processes. "commands" stands for the commands of the
    `fanfare` command line, not for the calls that change something.
    """

    def __init__(self, *programs: str) -> None:
        self.programs = frozenset(programs)


_ALL = ReadBy("write", "read", "worker", "commands")
_PROCESSES = ReadBy("write", "read", "worker")
_SERVICES = ReadBy("write", "read")
_FEED = ReadBy("write", "worker", "commands")
_CACHE = ReadBy("read", "worker", "commands")
_PORT = Field(ge=0, le=65535)


class Settings(BaseSettings):
    """Every setting, read from FANFARE_<NAME>; docs/operations.md lists them for operators.

    Addresses may hold passwords, so they are SecretStr, which keeps them out of logs. If an address
    is not set, it is read from the record that `fanfare up` writes into the state folder.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True)

    postgres_dsn: Annotated[SecretStr | None, _ALL] = None
    """The Postgres primary."""
    postgres_session_dsn: Annotated[SecretStr | None, ReadBy("write", "commands")] = None
    """The Postgres primary without a pooler, if `postgres_dsn` leads through one."""
    postgres_replica_dsn: Annotated[SecretStr | None, _CACHE] = None
    """The Postgres that queries try first; by default the primary."""
    redis_url: Annotated[SecretStr | None, _ALL] = None
    """The Redis that holds cached timelines and tweets, checkpoints, and rate limit counters."""
    # The pattern excludes the wildcards of SCAN and the braces of a hash tag.
    redis_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$"), _ALL] = "fanfare:"
    """The prefix of every key in Redis."""
    kafka_bootstrap_servers: Annotated[SecretStr | None, _FEED] = None
    """Kafka's brokers, in a form that `core.storage.kafka` describes."""

    write_target: Annotated[str, ReadBy("commands")] = ""
    """Where commands find the write service, as host:port; by default write_port on `bind`."""
    read_target: Annotated[str, ReadBy("commands")] = ""
    """Where commands find the read service, as host:port; by default read_port on `bind`."""
    write_port: Annotated[int, _PORT, ReadBy("write", "commands")] = 50051
    """The write service's gRPC port."""
    read_port: Annotated[int, _PORT, ReadBy("read", "commands")] = 50052
    """The read service's gRPC port."""
    worker_port: Annotated[int, _PORT, ReadBy("worker", "commands")] = 50053
    """The fan-out worker's gRPC port, for health checks only."""
    rest_write_port: Annotated[int, _PORT, ReadBy("write", "read", "commands")] = 8081
    """The HTTP port of the write service, for commands and sessions; 0 turns REST off."""
    rest_read_port: Annotated[int, _PORT, ReadBy("write", "read", "commands")] = 8080
    """The HTTP port of the read service, for queries; 0 turns REST off."""
    read_processes: Annotated[int, Field(ge=1, le=256), ReadBy("read", "commands")] = 1
    """How many read processes share one port."""
    # The highest port of 256 read processes is 2,551 above the first one.
    metrics_port: Annotated[int, Field(ge=0, le=60_000), _ALL] = 0
    """The first of the ports for metrics and probes, which core.runtime.metrics_ports describes."""
    bind: Annotated[str, _ALL] = "127.0.0.1"
    """The address that every port listens on."""
    share_ports: Annotated[bool, _PROCESSES] = False
    """Whether another process may listen on the same ports, so that it can replace this one."""
    grpc_server: Annotated[GrpcServerKind, ReadBy("write", "read", "commands")] = (
        GrpcServerKind.GRPCIO
    )
    """Which server carries the gRPC calls of the two services."""

    allow_unauthenticated_plaintext: Annotated[bool, _ALL] = False
    """Whether `bind` may be reachable by other machines without authentication and TLS."""
    auth_keys: Annotated[Path | None, ReadBy("write", "read", "commands")] = None
    """A folder of signing keys; if it is set, callers need access tokens."""
    tls_dir: Annotated[Path | None, _ALL] = None
    """A folder with this process's certificate; if it is set, every port speaks TLS."""
    tls_services: Annotated[str, ReadBy("write", "read", "commands")] = ""
    """Common names, separated by commas, of client certificates whose holders act as services."""
    trusted_proxies: Annotated[str, _SERVICES] = "none"
    """Addresses and networks, separated by commas, whose X-Forwarded-For is believed; or "none"."""
    cors_origins: Annotated[str, ReadBy("write", "read", "commands")] = ""
    """Origins, separated by commas, whose pages may call the REST API from a browser."""
    demo_page: Annotated[bool, ReadBy("write", "read", "commands")] = False
    """Whether the read service's HTTP port has a page with which people can try Fanfare."""

    state_dir: Annotated[Path, _ALL] = Path(".fanfare")
    """The folder of the embedded stack: its data, and the record of its addresses."""
    log_level: Annotated[
        str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$"), _PROCESSES
    ] = "INFO"
    """The lowest level that is logged."""
    log_format: Annotated[LogFormat, _PROCESSES] = LogFormat.TEXT
    """Whether each line of the log is text or a JSON object."""
    access_log: Annotated[bool, _SERVICES] = False
    """Whether each call gets a line in the log."""
    traces: Annotated[str, Field(pattern=r"^(https?://[^/@?#\s]+/?)?$"), _PROCESSES] = ""
    """Where a collector takes OTLP over gRPC; empty turns traces off."""
    traces_sample: Annotated[float, Field(ge=0, le=1), _PROCESSES] = 0.01
    """The part of the calls that is traced, of those whose caller does not say whether."""
    revision: Annotated[str, _PROCESSES] = "unknown"
    """The revision that was built, which the metrics show; the image sets it."""
    security_log: Annotated[Path | None, ReadBy("write", "read", "commands")] = None
    """The file that the security log is appended to; by default it goes to stderr."""
    timeline_length: Annotated[int, Field(ge=1, le=100_000), _CACHE] = 800
    """How many tweet ids a cached timeline holds; Postgres serves older pages."""
    timeline_ttl_days: Annotated[float, Field(gt=0, le=3650), _CACHE] = 14
    """How long timelines and tweets stay cached after their last read."""
    pull_followers: Annotated[int, Field(ge=0), ReadBy("write")] = 100_000
    """An author with more followers than this becomes a pull author; with 0, no author does."""
    max_following: Annotated[int, Field(ge=1), ReadBy("write")] = 10_000
    """How many users one user may follow."""
    max_watches: Annotated[int, Field(ge=1), ReadBy("read", "commands")] = 10_000
    """How many watches of home timelines each read process has open at most."""
    watches_per_caller: Annotated[int, Field(ge=1), ReadBy("read")] = 20
    """How many of them one caller may have, where authentication is on."""
    watch_heartbeat_seconds: Annotated[float, Field(gt=0, le=60), ReadBy("read")] = 10.0
    """How long a watch may be without an event before a heartbeat is sent."""
    max_replica_lag: Annotated[float, Field(gt=0), ReadBy("read", "commands")] = 10.0
    """How many seconds the replica may lag before the read service stops using it."""
    cached_followers: Annotated[int, Field(ge=0), ReadBy("worker")] = 50_000_000
    """How many follower ids a worker keeps in memory, at 8 bytes each."""
    topic: Annotated[str, _FEED] = "fanfare.feed.v1"
    """The Kafka topic that carries events from the relay to the worker."""
    verify_per_minute: Annotated[float, Field(ge=0, le=600), ReadBy("worker")] = 6
    """How many cached timelines a worker compares with SQL each minute; with 0, none."""
    backup_dir: Annotated[Path | None, _ALL] = None
    """A folder of base backups of Postgres, whose age is exported as a metric."""
    retention_days: Annotated[float, Field(ge=0.0001, le=3650), _FEED] = DEFAULT_RETENTION_DAYS
    """How long the outbox and Kafka keep events, which contain texts, after they were sent."""
    silence_seconds: Annotated[float, Field(ge=1, le=3600), _ALL] = DEFAULT_SILENCE_SECONDS
    """How long Postgres, Kafka or the worker's Redis may be silent before a process reconnects."""

    def primary_dsn(self) -> str:
        """Return the DSN of the Postgres primary.

        Raises:
            SettingsError: it is neither set nor recorded, or it is not a DSN.
        """
        return _checked_dsn("postgres_dsn", self._address("postgres_dsn", self.postgres_dsn))

    def session_dsn(self) -> str:
        """Return the DSN of the primary on which a connection has a session of its own.

        Raises:
            SettingsError: as primary_dsn().
        """
        if self.postgres_session_dsn is None:
            return self.primary_dsn()
        return _checked_dsn("postgres_session_dsn", self.postgres_session_dsn.get_secret_value())

    def replica_dsn(self) -> str:
        """Return the DSN of the Postgres that queries try first; raises as primary_dsn() does.

        The recorded replica is used only if the primary also comes from the record, because the
        embedded stack's replica follows no other primary.
        """
        name = "postgres_replica_dsn"
        if self.postgres_replica_dsn is None and self.postgres_dsn is not None:
            return self.primary_dsn()
        return _checked_dsn(name, self._address(name, self.postgres_replica_dsn))

    def redis_address(self) -> str:
        """Return the URL of Redis.

        Raises:
            SettingsError: it is neither set nor recorded, or it is not a URL of Redis.
        """
        url = self._address("redis_url", self.redis_url)
        try:
            parse_url(url)  # type: ignore[no-untyped-call]
        except ValueError:
            raise _unusable("redis_url", "redis://:password@host:6379/0") from None
        return url

    def kafka_address(self) -> str:
        """Return Kafka's bootstrap servers, which `core.storage.kafka` parses.

        Raises:
            SettingsError: they are neither set nor recorded.
        """
        return self._address("kafka_bootstrap_servers", self.kafka_bootstrap_servers)

    def timeline_ttl_seconds(self) -> int:
        """Return how long timelines and tweets stay in Redis after their last read, in seconds."""
        return int(self.timeline_ttl_days * 86_400) or 1

    def write_service_target(self) -> str:
        """Return host:port of the write service."""
        return self.write_target or self.local_address(self.write_port)

    def read_service_target(self) -> str:
        """Return host:port of the read service."""
        return self.read_target or self.local_address(self.read_port)

    def local_address(self, port: int) -> str:
        """Return host:port at which this machine reaches a port that listens on `bind`."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind.strip("[]"), self.bind)
        return host_and_port(host, port)

    def service_names(self) -> list[str]:
        """Return the common names of certificates whose holders act as services."""
        return [name.strip() for name in self.tls_services.split(",") if name.strip()]

    def _address(self, name: str, value: SecretStr | None) -> str:
        if value is not None:
            return value.get_secret_value()
        record = self.state_dir / STACK_FILE
        try:
            return str(json.loads(record.read_text())[name])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{variable_of(name)} is not set and no embedded stack is recorded in {record}; "
                "set it, or run `make up` first"
            ) from error


def host_and_port(host: str, port: int) -> str:
    """Return host:port; an IPv6 address gets the brackets that it needs."""
    plain = host.strip("[]")
    return f"[{plain}]:{port}" if ":" in plain else f"{plain}:{port}"


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def _checked_dsn(name: str, dsn: str) -> str:
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.Error:
        parts = {}
    # If a password contains an unescaped slash, libpq takes what is before the slash for the port,
    # and repeats it in the error message when it cannot connect.
    ports = str(parts.get("port", "")).split(",")
    if not parts or not all(port.isdigit() for port in ports if port):
        raise _unusable(name, "postgresql://user:password@host:5432/database")
    return dsn


def _unusable(name: str, example: str) -> SettingsError:
    # Callers raise this "from None", because the parsers' messages repeat the address.
    return SettingsError(
        f"{variable_of(name)} is not usable; write {example}, with special characters "
        "percent-encoded"
    )
