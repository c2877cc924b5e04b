"""What FANFARE_KAFKA_BOOTSTRAP_SERVERS may contain."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from core.settings import SettingsError
from core.storage.kafka import client_settings


def test_plain_addresses_go_to_librdkafka_as_they_are() -> None:
    """An address of one or more host:port, separated by commas, is used without TLS."""
    settings = client_settings("one:9092,two:9092")
    assert settings["bootstrap.servers"] == "one:9092,two:9092"
    assert "security.protocol" not in settings


def test_an_address_with_password_and_options() -> None:
    """Each part of the address becomes a setting of librdkafka, and %-escapes are decoded."""
    password = "p@ss/word: 100%"
    address = (
        f"sasl+ssl://a%40b:{quote(password, safe='')}@one:9093,two:9093?ca=/a%20b&mechanism=PLAIN"
    )
    settings = client_settings(address)
    expected = {
        "bootstrap.servers": "one:9093,two:9093",
        "security.protocol": "SASL_SSL",
        "sasl.username": "a@b",
        "sasl.password": password,
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
def test_an_address_of_another_form_is_refused(address: str) -> None:
    """The error names the setting, and does not repeat the password."""
    with pytest.raises(
        SettingsError, match="FANFARE_KAFKA_BOOTSTRAP_SERVERS is not usable"
    ) as told:
        client_settings(address)
    assert "hunter2" not in str(told.value)
