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
from core.storage.postgres import SharedSessionError
from ops.errors import OpsError

# The exceptions that a command's calls to the rest of the system can raise.
FAILURES = (psycopg.Error, KafkaException, RedisError, grpc.RpcError, OtherHistoryError)

# What to do about errors of calls whose messages do not say it.
_CALL_REMEDIES = {
    grpc.StatusCode.UNAVAILABLE: "`fanfare status` shows which services are up",
    grpc.StatusCode.DEADLINE_EXCEEDED: "`fanfare status` shows which services are up",
    grpc.StatusCode.UNAUTHENTICATED: "set FANFARE_AUTH_KEYS to the folder of the system's keys",
}
# SQLSTATEs of a table, column or function that does not exist.
_NO_SCHEMA = {"42P01", "42703", "42883"}
# Prefixes of the SQLSTATEs that mean that the connection has ended, such as those of a shutdown.
_CONNECTION_ENDED = ("08", "57P")


@contextmanager
def failures_as_ops_errors() -> Iterator[None]:
    """Turn each of FAILURES into an OpsError; usable as a decorator too."""
    try:
        yield
    except FAILURES as error:
        problem, remedy = explain_failure(error)
        raise OpsError(f"{problem}; {remedy}" if remedy else problem) from error


def describe_failure(error: BaseException) -> str:
    """Return what is wrong, on one line; error: one of FAILURES."""
    problem, _ = explain_failure(error)
    return problem


def explain_failure(error: BaseException) -> tuple[str, str]:
    """Return what is wrong, and what to do about it, which is empty if there is no advice.

    Args:
        error: one of FAILURES.
    """
    match error:
        case psycopg.Error():
            return _explain_postgres(error)
        case KafkaException(args=[KafkaError() as cause, *_]):
            return (
                f"Kafka does not answer or refuses: {_one_line(cause.str())}",
                "check that it runs and that FANFARE_KAFKA_BOOTSTRAP_SERVERS is right",
            )
        case RedisConnectionError() | RedisTimeoutError():
            return (
                f"Redis does not answer: {_one_line(error)}",
                "check that it runs and that FANFARE_REDIS_URL is right",
            )
        case RedisError():
            return f"Redis refuses a request: {_one_line(error)}", ""
        case grpc.Call():
            problem = f"a call failed with {error.code().name}: {_one_line(error.details())}"
            return problem, _CALL_REMEDIES.get(error.code(), "")
        case _:
            return _one_line(error), ""


def _explain_postgres(error: psycopg.Error) -> tuple[str, str]:
    if error.sqlstate in _NO_SCHEMA:
        return (
            f"the schema is not that of this version: {_one_line(error)}",
            "run `fanfare migrate`",
        )
    if isinstance(error, SharedSessionError):
        return _one_line(error), ""
    is_refusal = error.sqlstate is not None and not error.sqlstate.startswith(_CONNECTION_ENDED)
    if is_refusal or not isinstance(error, psycopg.OperationalError):
        return f"Postgres refuses a statement: {_one_line(error)}", ""
    return (
        f"Postgres does not answer: {_one_line(error)}",
        "check that it runs, and FANFARE_POSTGRES_DSN and FANFARE_POSTGRES_REPLICA_DSN",
    )


def _one_line(text: object) -> str:
    # libpq begins the lines that are only hints with a tab.
    lines = (line for line in str(text).splitlines() if not line.startswith("\t"))
    return " ".join(" ".join(lines).split()).removesuffix(".")
