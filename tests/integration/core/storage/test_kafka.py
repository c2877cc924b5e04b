"""Clients of a real Kafka that requires TLS and a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from helpers.secured import PASSWORD, secure_kafka

from core.storage.kafka import client_settings
from ops.certificates import Authority


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Yield host:port of a Kafka that requires TLS and a password, and its certificates."""
    folder = tmp_path_factory.mktemp("kafka")
    Authority().issue(folder / "tls", "kafka")
    with secure_kafka(folder / "kafka", folder / "tls") as server:
        yield server, folder / "tls"


def test_a_client_authenticates_and_checks_the_certificate(
    secure: tuple[str, Path], tmp_path: Path
) -> None:
    """A wrong password is refused by Kafka, and an unknown authority by the client."""
    server, tls = secure

    def brokers(password: str, authority: Path) -> int:
        address = (
            f"sasl+ssl://fanfare:{quote(password, safe='')}@{server}?ca={authority}&mechanism=PLAIN"
        )
        admin = AdminClient(client_settings(address))
        return len(admin.list_topics(timeout=5).brokers)

    assert brokers(PASSWORD, tls / "ca.crt") == 1
    Authority().issue(tmp_path, "another")
    for password, authority in (("wrong", tls / "ca.crt"), (PASSWORD, tmp_path / "ca.crt")):
        with pytest.raises(KafkaException):
            brokers(password, authority)
