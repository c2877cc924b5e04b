"""Failures of Postgres, Kafka, Redis and the services, in words for the operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import psycopg
from confluent_kafka import KafkaError, KafkaException
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core.feed.history import OtherHistoryError
from ops.errors import OpsError

# What a command's calls to the rest of the system raise.
FAILURES = (psycopg.Error, KafkaException, RedisError, grpc.RpcError, OtherHistoryError)

# SQLSTATEs of a table, column or function that does not exist.
_NO_SCHEMA = {"42P01", "42703", "42883"}
# How SQLSTATEs begin that end the connection, such as those of a shutdown.
_CONNECTION_ENDED = ("08", "57P")


@contextmanager
def failures_as_ops_errors() -> Iterator[None]:
    """Turn each of FAILURES into an OpsError; usable as a decorator too."""
    try:
        yield
    except FAILURES as error:
        raise OpsError(describe_failure(error)) from error


def describe_failure(error: BaseException) -> str:
    """Return what one of FAILURES means and what to do about it, on one line."""
    match error:
        case psycopg.Error():
            text = _describe_postgres_failure(error)
        case KafkaException(args=[KafkaError() as cause, *_]):
            text = (
                f"Kafka does not answer or refuses: {cause.str()}; check that it runs and that "
                "FANFARE_KAFKA_BOOTSTRAP_SERVERS is right"
            )
        case RedisConnectionError() | RedisTimeoutError():
            text = (
                f"Redis does not answer: {error}; check that it runs and that FANFARE_REDIS_URL "
                "is right"
            )
        case RedisError():
            text = f"Redis refuses a request: {error}"
        case grpc.Call():
            text = (
                f"a call to a service failed with {error.code().name}: {error.details()}; "
                "`fanfare status` shows which services are up"
            )
        case _:
            text = str(error)
    return " ".join(text.split())


def _describe_postgres_failure(error: psycopg.Error) -> str:
    if error.sqlstate in _NO_SCHEMA:
        return f"the schema is not that of this version: {error}; run `fanfare migrate`"
    is_refusal = error.sqlstate is not None and not error.sqlstate.startswith(_CONNECTION_ENDED)
    if is_refusal or not isinstance(error, psycopg.OperationalError):
        return f"Postgres refuses a statement: {error}"
    return (
        f"Postgres does not answer: {error}; check that it runs and that FANFARE_POSTGRES_DSN and "
        "FANFARE_POSTGRES_REPLICA_DSN are right"
    )
