"""The settings in the line with which a process begins."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.runtime.metrics_ports import Program
from core.runtime.start_line import log_start, shown_settings
from core.settings import Settings

KAFKA = "sasl+ssl://feed:hunter2@k1:9093,k2:9093?ca=/ca.pem&mechanism=PLAIN"


@pytest.mark.parametrize(
    ("name", "address", "shown"),
    [
        (
            "postgres_dsn",
            "postgresql://u:hunter2@h1,h2:5433/d?sslmode=verify-full&sslpassword=hunter2",
            "host=h1,h2 port=,5433 dbname=d user=u sslmode=verify-full",
        ),
        ("postgres_dsn", "host=h password='hunter2 @' dbname=d", "host=h dbname=d"),
        ("postgres_dsn", "postgresql://u:hunter2/w@h/d", "unusable"),
        ("redis_url", "rediss://:hunter2@h:6380/1?ssl_keyfile=/k", "rediss://h:6380/1"),
        ("redis_url", "redis://:a@hunter2@h", "redis://h"),
        ("redis_url", "redis://h/0?password=hunter2", "redis://h/0"),
        ("redis_url", "redis://:hunter2/w@h", "unusable"),
        ("kafka_bootstrap_servers", KAFKA, "sasl+ssl://k1:9093,k2:9093"),
        ("kafka_bootstrap_servers", "k1:9092", "k1:9092"),
    ],
)
def test_an_address_is_shown_without_its_password(name: str, address: str, shown: str) -> None:
    """Only the parts that are known to be no secrets are shown."""
    given = {"postgres_dsn": SecretStr("host=h"), name: SecretStr(address)}
    settings = Settings(state_dir=Path("/nonexistent"), **given)  # type: ignore[arg-type]
    assert shown_settings(settings, Program.WRITE)[name] == shown


def test_the_line(caplog: pytest.LogCaptureFixture) -> None:
    """It has the version, and each setting that the program reads, no others."""
    settings = Settings(
        state_dir=Path("/nonexistent"), auth_keys=Path("/key folder"), access_log=True
    )
    with caplog.at_level(logging.INFO):
        log_start(settings, Program.READ)
    (line,) = caplog.messages
    assert line.startswith("process starts: version=")
    for field in (
        "program=read",
        "rest_read_port=8080",
        'auth_keys="/key folder"',
        "postgres_dsn=",
    ):
        assert field in line
    assert "worker_port" not in line
