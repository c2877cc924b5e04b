"""Checks of Kafka: brokers, and the settings of the topics."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from core.settings import Settings
from core.storage.kafka import client_settings
from core.storage.settings_checks import TIMEOUT_SECONDS, topic_check
from ops.doctor.runner import Check
from ops.doctor.verdicts import Status, Verdict, verdict_of_finding


def kafka_checks(settings: Settings) -> list[Check]:
    """Return the checks of Kafka."""
    name = "Kafka"
    return [
        Check(name, lambda: _check_answer(settings)),
        Check("Kafka topics", lambda: _check_topics(settings), needs=name),
    ]


def _check_answer(settings: Settings) -> list[Verdict]:
    admin = AdminClient(client_settings(settings.kafka_address()) | {"log_level": 0})
    brokers = len(admin.list_topics(timeout=TIMEOUT_SECONDS).brokers)
    return [
        Verdict(Status.OK, f"{brokers} {'broker answers' if brokers == 1 else 'brokers answer'}")
    ]


def _check_topics(settings: Settings) -> list[Verdict]:
    found = [verdict_of_finding(finding) for finding in topic_check(settings)()]
    return found or [Verdict(Status.OK, f"{settings.topic} is as Fanfare needs it")]
