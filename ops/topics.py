"""Creates the topics in Kafka, and bounds how long they keep records."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs lack these
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from core.feed.sharding import PARTITIONS
from core.settings import Settings
from core.storage.kafka import client_settings, dead_letter_topic
from core.storage.retention import longest_days, topic_retention
from core.storage.settings_rules import MANY_REPLICAS, MIN_IN_SYNC

KAFKA_SECONDS = 30.0


def prepare_topics(settings: Settings, *, dry_run: bool) -> list[str]:
    """Create the topic of the feed and that of its dead letters, or bound their retention.

    Args:
        settings: the address of Kafka, the topic and its retention.
        dry_run: whether Kafka is only asked whether it would do so.

    Returns:
        A phrase for each topic that was, or would be, created or changed.
    """
    topic, retention_days = settings.topic, settings.retention_days
    admin = AdminClient(client_settings(settings.kafka_address()))
    replicas = min(3, len(admin.list_topics(timeout=KAFKA_SECONDS).brokers))
    # Set explicitly, because the broker's defaults differ between installations.
    config = {"cleanup.policy": "delete", "unclean.leader.election.enable": "false"}
    if replicas >= MANY_REPLICAS:
        config["min.insync.replicas"] = str(MIN_IN_SYNC)
    config |= topic_retention(retention_days)
    topics = [
        NewTopic(topic, PARTITIONS, replicas, config=config),
        NewTopic(dead_letter_topic(topic), 1, replicas, config=config),
    ]
    done = []
    for name, future in admin.create_topics(topics, validate_only=dry_run).items():
        try:
            future.result(timeout=KAFKA_SECONDS)
            done.append(f"{'would create' if dry_run else 'created'} topic {name}")
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            done += _bound_retention(admin, name, retention_days, dry_run=dry_run)
    return done


def _bound_retention(admin: AdminClient, topic: str, days: float, *, dry_run: bool) -> list[str]:
    """Change a topic that keeps records for more than this many days; return what was done."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        described = admin.describe_configs([resource])[resource].result(timeout=KAFKA_SECONDS)
        if longest_days({name: entry.value for name, entry in described.items()}) <= days:
            return []
        changed = ConfigResource(
            ResourceType.TOPIC,
            topic,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in topic_retention(days).items()
            ],
        )
        answers = admin.incremental_alter_configs([changed], validate_only=dry_run)
        answers[changed].result(timeout=KAFKA_SECONDS)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise
        cure = "allow the operations DescribeConfigs and AlterConfigs on it"
        return [f"could not limit how long topic {topic} keeps records, as Kafka refused; {cure}"]
    limited = "would limit" if dry_run else "limited"
    return [f"{limited} topic {topic} to keeping records for {days:g} days"]
