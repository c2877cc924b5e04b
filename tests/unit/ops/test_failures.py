"""What an operator is told when a server fails."""

from __future__ import annotations

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


def test_a_bug_is_not_a_failure_of_a_server() -> None:
    """Other exceptions keep their traceback."""
    with pytest.raises(ZeroDivisionError), failures_as_ops_errors():
        raise ZeroDivisionError
