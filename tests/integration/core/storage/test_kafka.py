"""A Kafka that requires TLS and a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient
from helpers.tls_servers import PASSWORD, secure_kafka
from helpers.waiting import wait_until

from core.storage.kafka import client_settings
from ops.certificates import Authority


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Yield host:port of a Kafka that requires TLS and a password, and its certificates' folder."""
    folder = tmp_path_factory.mktemp("kafka")
    Authority().issue(folder / "tls", "kafka")
    with secure_kafka(folder / "kafka", folder / "tls") as server:
        yield server, folder / "tls"


def test_a_kafka_that_asks_for_a_password_over_tls(
    secure: tuple[str, Path], tmp_path: Path
) -> None:
    """Only a client with the right password that trusts the right authority can connect."""
    server, tls = secure

    def client(password: str, authority: Path, errors: list[KafkaError]) -> AdminClient:
        address = (
            f"sasl+ssl://fanfare:{quote(password, safe='')}@{server}?ca={authority}&mechanism=PLAIN"
        )
        return AdminClient(client_settings(address) | {"error_cb": errors.append})

    admin = client(PASSWORD, tls / "ca.crt", [])
    assert len(admin.list_topics(timeout=60).brokers) == 1

    Authority().issue(tmp_path, "another")
    for password, authority, expected in (
        ("wrong", tls / "ca.crt", KafkaError._AUTHENTICATION),
        (PASSWORD, tmp_path / "ca.crt", KafkaError._SSL),
    ):
        errors: list[KafkaError] = []
        admin = client(password, authority, errors)

        def is_refused() -> bool:
            admin.poll(0)  # noqa: B023 - called before the next round
            return expected in {error.code() for error in errors}  # noqa: B023

        wait_until(is_refused, f"the client is refused with error {expected}")
