"""Settings from the environment and from the stack's record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FANFARE_STATE_DIR", str(tmp_path))


def test_a_misspelt_variable_is_refused_with_the_right_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A typo must not leave a setting at its default unnoticed."""
    monkeypatch.setenv("FANFARE_POSTGRES_DNS", "x")
    with pytest.raises(SettingsError, match="did you mean FANFARE_POSTGRES_DSN"):
        load_settings()


def test_a_value_out_of_range_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, not the class."""
    monkeypatch.setenv("FANFARE_WRITE_PORT", "70000")
    with pytest.raises(SettingsError, match="FANFARE_WRITE_PORT is not usable"):
        load_settings()


def test_an_unknown_address_is_one_sentence() -> None:
    """Without variable and record the cure is named."""
    with pytest.raises(SettingsError, match=r"FANFARE_REDIS_URL is not set .*make up"):
        load_settings().redis_address()


def test_the_environment_wins_over_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the operator says counts more than what a stack recorded."""
    record = {
        "redis_url": "redis://record",
        "postgres_dsn": "record",
        "postgres_replica_dsn": "replica",
    }
    (tmp_path / "stack.json").write_text(json.dumps(record))
    monkeypatch.setenv("FANFARE_REDIS_URL", "redis://said")
    settings = load_settings()
    assert settings.redis_address() == "redis://said"
    assert (settings.primary_dsn(), settings.replica_dsn()) == ("record", "replica")
    monkeypatch.setenv("FANFARE_POSTGRES_DSN", "postgresql://said")
    # The recorded replica is not one of that primary.
    assert load_settings().replica_dsn() == "postgresql://said"


def test_passwords_stay_out_of_representations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A DSN with its password never shows in a log of the settings."""
    monkeypatch.setenv("FANFARE_POSTGRES_DSN", "postgresql://u:hunter2@h/d")
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "[::]", "192.0.2.7", "fanfare.example"])
def test_an_address_that_others_reach_is_refused(
    monkeypatch: pytest.MonkeyPatch, bind: str
) -> None:
    """Without authentication and TLS only the operator's own word opens a port to others."""
    monkeypatch.setenv("FANFARE_BIND", bind)
    with pytest.raises(SettingsError, match="FANFARE_ALLOW_UNAUTHENTICATED_PLAINTEXT=true"):
        load_settings()
    monkeypatch.setenv("FANFARE_ALLOW_UNAUTHENTICATED_PLAINTEXT", "true")
    assert load_settings().bind == bind


def test_with_keys_and_certificates_any_address_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them alone will not, and the error names what is missing."""
    monkeypatch.setenv("FANFARE_BIND", "0.0.0.0")
    monkeypatch.setenv("FANFARE_AUTH_KEYS", "keys")
    with pytest.raises(SettingsError, match="may call, without TLS"):
        load_settings()
    monkeypatch.setenv("FANFARE_TLS_DIR", "tls")
    assert load_settings().bind == "0.0.0.0"


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_permission(monkeypatch: pytest.MonkeyPatch, bind: str) -> None:
    """What only this machine reaches works as it is."""
    monkeypatch.setenv("FANFARE_BIND", bind)
    assert load_settings().bind == bind


@pytest.mark.parametrize("name", ["AUTH_KEYS", "TLS_DIR", "TRUSTED_PROXIES", "SECRETS_DIR"])
def test_what_protects_is_not_set_to_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """A value that a deployment forgot does not open the service."""
    monkeypatch.setenv(f"FANFARE_{name}", "")
    with pytest.raises(SettingsError, match=f"FANFARE_{name} is set to nothing"):
        load_settings()
    monkeypatch.delenv(f"FANFARE_{name}")
    if name != "SECRETS_DIR":
        (tmp_path / f"FANFARE_{name}").write_text("\n")
        monkeypatch.setenv("FANFARE_SECRETS_DIR", str(tmp_path))
        with pytest.raises(SettingsError, match=f"FANFARE_{name} is set to nothing"):
            load_settings()


def test_a_secret_that_is_no_text_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder is named, and the cause."""
    (tmp_path / "FANFARE_REDIS_URL").write_bytes(b"redis://:hunter2\xff@h")
    monkeypatch.setenv("FANFARE_SECRETS_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=f"{tmp_path}, which cannot be read: it has") as error:
        load_settings()
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("postgres_dsn", "postgresql//u:hunter2@h/d"),
        ("postgres_replica_dsn", "hunter2"),
        ("redis_url", "redis://:hunter2/w@h"),
        ("redis_url", "http://:hunter2@h"),
        ("redis_url", "redis://h:hunter2"),
    ],
)
def test_an_address_that_is_none_is_not_repeated(name: str, address: str) -> None:
    """It may hold a password; the libraries would log it."""
    given = {"postgres_dsn": SecretStr("host=h"), name: SecretStr(address)}
    settings = Settings(**given)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=f"FANFARE_{name.upper()} is not usable") as told:
        settings.redis_address() if name == "redis_url" else settings.replica_dsn()
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "redis://h",
            "redis://h:6379",
            "redis://h:6379/0",
            "rediss://:p%2Fw@h:1/0?ssl_ca_certs=/a",
        ),
        *(
            "redis://u:p@[::1]:6379/0",
            "redis://:a:b@h:6379",
            "unix:///tmp/redis.sock",
            "redis://h?db=1",
        ),
    ],
)
def test_addresses_of_redis(address: str) -> None:
    """All that redis-py reads."""
    assert Settings(redis_url=SecretStr(address)).redis_address() == address


def test_passwords_may_stand_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of the setting's name, which the environment overrides; without its last newline."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "FANFARE_POSTGRES_DSN").write_text("postgresql://u:hunter2@h/d\n")
    (folder / "fanfare_redis_url").write_text("redis://file")
    (folder / "another").write_text("not ours")
    monkeypatch.setenv("FANFARE_SECRETS_DIR", str(folder))
    monkeypatch.setenv("FANFARE_REDIS_URL", "redis://said")
    settings = load_settings()
    assert settings.primary_dsn() == "postgresql://u:hunter2@h/d"
    assert settings.redis_address() == "redis://said"
    assert "hunter2" not in repr(settings)
    (folder / "FANFARE_POSTGRES_DNS").write_text("x")
    with pytest.raises(SettingsError, match="did you mean FANFARE_POSTGRES_DSN"):
        load_settings()


def test_a_folder_of_secrets_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the process would look for its addresses elsewhere."""
    monkeypatch.setenv("FANFARE_SECRETS_DIR", "/nowhere")
    with pytest.raises(SettingsError, match="FANFARE_SECRETS_DIR is /nowhere, which cannot be"):
        load_settings()
