"""What an operator is told when a server fails."""

from __future__ import annotations

import grpc
import psycopg
import pytest
import redis
from confluent_kafka import KafkaError, KafkaException

from core.feed.history import OtherHistoryError
from ops.errors import OpsError
from ops.failures import failures_as_ops_errors


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (
            psycopg.OperationalError("connection refused\n\tIs the server running?"),
            "Postgres does not answer: connection refused; check",
        ),
        (psycopg.errors.AdminShutdown("terminating"), "Postgres does not answer: terminating"),
        (psycopg.errors.DiskFull("no space"), "Postgres refuses a statement: no space"),
        (psycopg.errors.UndefinedTable('"outbox" does not exist'), "run `fanfare migrate`"),
        (KafkaException(KafkaError(KafkaError._TIMED_OUT, "timed out")), "Kafka .*: timed out"),
        (KafkaException("no record came"), "no record came"),
        (redis.ConnectionError("refused"), "Redis does not answer: refused; check"),
        (redis.ResponseError("OOM"), "Redis refuses a request: OOM"),
        (OtherHistoryError(), "run `fanfare recover`"),
    ],
)
def test_a_failed_server_is_named_on_one_line(failure: Exception, text: str) -> None:
    """The error names the server and the reason, and says what to do."""
    with pytest.raises(OpsError, match=text) as caught, failures_as_ops_errors():
        raise failure
    assert "\n" not in str(caught.value)


class Failed(grpc.RpcError):
    """A call that has failed."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        self._code, self._text = code, text

    def code(self) -> grpc.StatusCode:
        """Return the code."""
        return self._code

    def details(self) -> str:
        """Return the message."""
        return self._text


grpc.Call.register(Failed)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            grpc.StatusCode.UNAVAILABLE,
            "a call failed with UNAVAILABLE: down; `fanfare status` shows which services are up",
        ),
        (
            grpc.StatusCode.UNAUTHENTICATED,
            "a call failed with UNAUTHENTICATED: down; set FANFARE_AUTH_KEYS to the folder",
        ),
        (grpc.StatusCode.NOT_FOUND, "a call failed with NOT_FOUND: down"),
    ],
)
def test_a_failed_call_has_the_advice_that_its_code_allows(
    code: grpc.StatusCode, text: str
) -> None:
    """The services' own messages say what to do about all other codes."""
    with pytest.raises(OpsError) as caught, failures_as_ops_errors():
        raise Failed(code, "down")
    assert str(caught.value).startswith(text)
    assert (";" in str(caught.value)) == (";" in text)


def test_a_bug_is_not_a_failure_of_a_server() -> None:
    """Other exceptions keep their traceback."""
    with pytest.raises(ZeroDivisionError), failures_as_ops_errors():
        raise ZeroDivisionError
