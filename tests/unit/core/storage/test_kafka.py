"""What an address of Kafka may say, and a real Kafka that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from helpers.tls_servers import PASSWORD, secure_kafka

from core.settings import SettingsError
from core.storage.kafka import client_settings
from ops.certificates import Authority


def test_plain_addresses_are_as_they_were() -> None:
    """Host and port, several after commas, without TLS."""
    settings = client_settings("one:9092,two:9092")
    assert settings["bootstrap.servers"] == "one:9092,two:9092"
    assert "security.protocol" not in settings


def test_an_address_with_all_there_is() -> None:
    """Options become librdkafka's, and escapes are undone."""
    address = (
        f"sasl+ssl://a%40b:{quote(PASSWORD, safe='')}@one:9093,two:9093?ca=/a%20b&mechanism=PLAIN"
    )
    settings = client_settings(address)
    expected = {
        "bootstrap.servers": "one:9093,two:9093",
        "security.protocol": "SASL_SSL",
        "sasl.username": "a@b",
        "sasl.password": PASSWORD,
        "sasl.mechanism": "PLAIN",
        "ssl.ca.location": "/a b",
    }
    assert expected.items() <= settings.items()


@pytest.mark.parametrize(
    "address",
    [
        "sasl+plain://u:hunter2@h:9092",
        "sasl+ssl://h:9092",
        "sasl+ssl://u@h:9092",
        "ssl://u:hunter2@h:9092",
        "ssl://",
        "ssl://h:9092?cafile=x",
        "kafka://u:hunter2@h:9092",
        "sasl+ssl://u:hunter2\uff0fx@h:9092",
    ],
)
def test_an_address_that_is_none_is_one_sentence(address: str) -> None:
    """Which does not repeat the password."""
    with pytest.raises(
        SettingsError, match="FANFARE_KAFKA_BOOTSTRAP_SERVERS is not usable"
    ) as told:
        client_settings(address)
    assert "hunter2" not in str(told.value)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Yield host:port of a Kafka that asks for TLS and a password, and its certificates."""
    folder = tmp_path_factory.mktemp("kafka")
    Authority().issue(folder / "tls", "kafka")
    with secure_kafka(folder / "kafka", folder / "tls") as server:
        yield server, folder / "tls"


def test_a_kafka_that_asks_for_a_password_over_tls(
    secure: tuple[str, Path], tmp_path: Path
) -> None:
    """It lets in who knows it, and is itself held against the authority."""
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
