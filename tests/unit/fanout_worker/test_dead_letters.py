"""The dead-letter queue after its producer broke."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from fanout_worker import dead_letters
from fanout_worker.dead_letters import KafkaDeadLetterQueue


class _Message:
    """A message without anything in it."""

    def _none(self) -> None:
        return None

    topic = partition = offset = headers = value = key = _none


def test_a_broken_producer_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer with a fatal error never works again, so the next record gets a new one."""
    made: list[Any] = []

    class Broken:
        """A producer that fails for ever, as after OUT_OF_ORDER_SEQUENCE_NUMBER."""

        def __init__(self, _settings: object) -> None:
            made.append(self)

        def produce(self, *_: object, **__: object) -> None:
            raise KafkaException(KafkaError(KafkaError._FATAL))

        def purge(self) -> None:
            pass

    monkeypatch.setattr(dead_letters, "Producer", Broken)
    letters = KafkaDeadLetterQueue("127.0.0.1:1", "feed")
    message: Any = _Message()
    for _ in range(2):
        with pytest.raises(KafkaException):
            letters.add(message, "unreadable")
        letters.close()
    assert len(made) == 2
