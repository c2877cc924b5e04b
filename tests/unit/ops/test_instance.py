"""Which settings a command takes from the record of `fanfare up`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.settings import STACK_FILE, Settings, SettingsError
from ops.instance import RECORDED, load_instance_settings, to_record
from ops.system import System

SERVERS = {
    "postgres_dsn": "postgresql://record/d",
    "postgres_replica_dsn": "postgresql://replica/d",
    "redis_url": "redis://record",
    "kafka_bootstrap_servers": "record:1",
}
OWN = {
    "write_port": "1001",
    "read_port": "1002",
    "worker_port": "1003",
    "rest_write_port": "1004",
    "rest_read_port": "0",
    "auth_keys": "/record/keys",
    "tls_dir": "/record/tls",
}
GIVEN = Settings(bind="127.0.0.9", redis_prefix="record:", topic="record")


@pytest.fixture(autouse=True)
def _record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FANFARE_STATE_DIR", str(tmp_path))
    (tmp_path / STACK_FILE).write_text(json.dumps(SERVERS | to_record(GIVEN, OWN)))


def _is_recorded(settings: Settings, name: str) -> bool:
    expected = OWN.get(name, getattr(GIVEN, name))
    return str(getattr(settings, name)) == str(expected)


def test_a_command_finds_everything_of_a_recorded_instance() -> None:
    """Servers, services, ports, keys, certificates, and the names in Redis and Kafka."""
    settings = load_instance_settings()
    assert settings.primary_dsn() == SERVERS["postgres_dsn"]
    assert settings.replica_dsn() == SERVERS["postgres_replica_dsn"]
    assert settings.redis_address() == SERVERS["redis_url"]
    assert settings.kafka_address() == SERVERS["kafka_bootstrap_servers"]
    assert [name for name in RECORDED if not _is_recorded(settings, name)] == []
    assert settings.write_service_target().endswith(":1001")
    assert settings.read_service_target().endswith(":1002")


@pytest.mark.parametrize("name", RECORDED)
def test_what_is_set_counts_more_than_the_record(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each setting on its own; the others still come from the record."""
    said = "127.0.0.7" if name == "bind" else "7"
    monkeypatch.setenv(f"FANFARE_{name.upper()}", said)
    settings = load_instance_settings()
    assert str(getattr(settings, name)) == said
    assert [other for other in RECORDED if not _is_recorded(settings, other)] == [name]


def test_nothing_comes_from_the_record_of_another_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise a command would work on half of one instance and half of another."""
    monkeypatch.setenv("FANFARE_POSTGRES_DSN", "postgresql://said/d")
    settings = load_instance_settings()
    assert settings.primary_dsn() == settings.replica_dsn() == "postgresql://said/d"
    assert settings.write_service_target().endswith(":50051")
    assert settings.auth_keys is None
    with pytest.raises(SettingsError, match=r"FANFARE_REDIS_URL is not .* another database"):
        settings.redis_address()
    with pytest.raises(SettingsError, match="FANFARE_KAFKA_BOOTSTRAP_SERVERS is not set, and "):
        settings.kafka_address()
    monkeypatch.setenv("FANFARE_REDIS_URL", "redis://said")
    assert load_instance_settings().redis_address() == "redis://said"


def test_the_recorded_database_may_be_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fanfare up` records the servers that it was given."""
    monkeypatch.setenv("FANFARE_POSTGRES_DSN", SERVERS["postgres_dsn"])
    settings = load_instance_settings()
    assert settings.write_port == 1001
    assert settings.redis_address() == SERVERS["redis_url"]


def test_a_port_that_is_not_set_has_its_default_without_a_record(tmp_path: Path) -> None:
    """Nothing else says where the services are."""
    (tmp_path / STACK_FILE).unlink()
    assert load_instance_settings().write_service_target().endswith(":50051")


@pytest.mark.parametrize("content", ["", "{", '{"write_port": "x"}'])
def test_a_record_that_cannot_be_used_is_one_sentence(tmp_path: Path, content: str) -> None:
    """It is not taken for no record."""
    (tmp_path / STACK_FILE).write_text(content)
    with pytest.raises(SettingsError, match=r"stack.json is not a record of this version; run"):
        load_instance_settings()


def test_a_record_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    """It is the record of an instance that another user runs."""
    (tmp_path / STACK_FILE).unlink()
    (tmp_path / STACK_FILE).mkdir()
    with pytest.raises(SettingsError, match=r"cannot read .*stack.json: Is a directory; run this"):
        load_instance_settings()


def test_a_record_from_before_lacks_only_what_it_lacks(tmp_path: Path) -> None:
    """The servers alone were recorded once."""
    (tmp_path / STACK_FILE).write_text(json.dumps(SERVERS | {"unknown": 1}))
    settings = load_instance_settings()
    assert settings.redis_address() == SERVERS["redis_url"]
    assert settings.write_port == 50051


def test_a_system_records_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a command reads from the record is what the system's own settings say."""
    with monkeypatch.context() as context:
        context.setenv("FANFARE_TOPIC", "given")
        context.setenv("FANFARE_POSTGRES_DSN", "postgresql://given/d")
        context.setenv("FANFARE_READ_PORT", "1234")
        system = System(tmp_path, tmp_path, given=Settings(), fixed_ports=True, auth=True)
    (tmp_path / STACK_FILE).write_text(json.dumps(system.stack._record))
    settings = load_instance_settings()
    for name in (*SERVERS, *RECORDED):
        assert getattr(settings, name) == getattr(system.settings, name), name
