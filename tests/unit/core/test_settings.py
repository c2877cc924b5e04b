"""Settings from environment variables, from files, and from the embedded stack's record."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.settings import GrpcServerKind, ReadBy, Settings, SettingsError
from core.settings_loading import SECRETS_DIR, load_settings

ROOT = Path(__file__).parents[3]
PROGRAMS = {
    "write": ("write_service",),
    "read": ("read_service",),
    "worker": ("fanout_worker",),
    "commands": ("cli", "ops", "bench", "embedded"),
}
# What several programs import; which of them run a line cannot be told from the imports.
SHARED = ("core", "gateway")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FANFARE_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("FANFARE_GRPC_SERVER", raising=False)  # which all tests may be run with


def _readers(name: str) -> frozenset[str]:
    (readers,) = (m for m in Settings.model_fields[name].metadata if isinstance(m, ReadBy))
    return readers.programs


def _attributes(tree: ast.AST, owner: str) -> Iterator[str]:
    """Yield what the code reads from a name, or from a private attribute, of this spelling."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            match node.value:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    if name.lstrip("_") == owner:
                        yield node.attr


@cache
def _fields_of_methods() -> dict[str, set[str]]:
    """Return the fields that each method of Settings reads."""
    tree = ast.parse((ROOT / "core/settings.py").read_text())
    (found,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Settings")
    methods = {n.name: n for n in found.body if isinstance(n, ast.FunctionDef)}
    read = {name: set(_attributes(node, "self")) for name, node in methods.items()}
    for _ in read:  # until the methods that they call are resolved too
        read = {
            name: {f for used in uses for f in read.get(used, {used})}
            for name, uses in read.items()
        }
    return {name: uses & Settings.model_fields.keys() for name, uses in read.items()}


@cache
def _read_in(packages: tuple[str, ...]) -> set[str]:
    """Return the settings that the code of some packages reads."""
    methods = _fields_of_methods()
    fields: set[str] = set()
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            for name in _attributes(ast.parse(path.read_text()), "settings"):
                fields |= methods.get(name, {name})
    return fields & Settings.model_fields.keys()


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_setting_names_the_programs_that_read_it(program: str) -> None:
    """The ReadBy of a setting agrees with the code, as far as imports tell."""
    declared = {name for name in Settings.model_fields if program in _readers(name)}
    own = _read_in(PROGRAMS[program])
    assert own <= declared
    assert declared <= own | _read_in(SHARED)


def test_the_operators_guide_lists_every_setting() -> None:
    """The table in docs/operations.md has each variable, and none that does not exist."""
    lines = (ROOT / "docs/operations.md").read_text().splitlines()
    listed = {
        variable
        for line in lines
        if line.startswith("| `FANFARE_")
        for variable in re.findall(r"FANFARE_[A-Z_]+", line.split("|")[1])
    }
    variables = {f"FANFARE_{name.upper()}" for name in Settings.model_fields}
    assert listed == variables | {SECRETS_DIR}


@pytest.mark.parametrize("variable", ["FANFARE_POSTGRES_DNS", "fanfare_postgres_dns"])
def test_a_misspelt_variable_is_refused_with_the_right_name(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A typo cannot leave a setting at its default unnoticed, whatever its case."""
    monkeypatch.setenv(variable, "x")
    with pytest.raises(SettingsError, match=r"did you mean FANFARE_POSTGRES_DSN\?$"):
        load_settings()
    monkeypatch.delenv(variable)
    monkeypatch.setenv("FANFARE_ZZZZZZZZZZZZZZ", "x")
    with pytest.raises(SettingsError, match="known are FANFARE_ACCESS_LOG"):
        load_settings()


@pytest.mark.parametrize(
    "name", ["WRITE_PORT", "BIND", "SHARE_PORTS", "LOG_LEVEL", "TIMELINE_TTL_DAYS", "REDIS_PREFIX"]
)
def test_a_value_that_cannot_be_used_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The error names the variable, and not its value, which may be a misplaced password."""
    monkeypatch.setenv(f"FANFARE_{name}", "hunter2 {")
    with pytest.raises(SettingsError, match=f"^FANFARE_{name} ") as told:
        load_settings()
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    "name", [name for name, field in Settings.model_fields.items() if field.annotation is bool]
)
def test_a_switch_is_on_or_off_or_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """No value of a switch is ignored."""
    for word, is_on in (("ON", True), ("Yes", True), ("1", True), ("oFF", False), ("no", False)):
        monkeypatch.setenv(f"FANFARE_{name.upper()}", word)
        assert getattr(load_settings(), name) is is_on
    for word in ("onn", "enabled", "2", "-1", "none"):
        monkeypatch.setenv(f"FANFARE_{name.upper()}", word)
        with pytest.raises(SettingsError, match=f"^FANFARE_{name.upper()} is not usable"):
            load_settings()


def test_the_native_grpc_server_is_refused_with_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has no TLS, and must not leave the port in plaintext unnoticed."""
    monkeypatch.setenv("FANFARE_GRPC_SERVER", "native")
    assert load_settings().grpc_server is GrpcServerKind.NATIVE
    monkeypatch.setenv("FANFARE_TLS_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=r"^FANFARE_GRPC_SERVER=native has no TLS; set "):
        load_settings()


def test_another_grpc_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the servers that there are."""
    monkeypatch.setenv("FANFARE_GRPC_SERVER", "rust")
    with pytest.raises(SettingsError, match=r"FANFARE_GRPC_SERVER .*'grpcio' or 'native'"):
        load_settings()


def test_an_address_that_is_not_known_is_one_sentence() -> None:
    """Without a variable and without a record, the error says what to do."""
    with pytest.raises(SettingsError, match=r"FANFARE_REDIS_URL is not set .*make up"):
        load_settings().redis_address()


def test_the_environment_wins_over_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A variable counts more than what `fanfare up` recorded."""
    record = {
        "redis_url": "redis://record",
        "postgres_dsn": "host=record",
        "postgres_replica_dsn": "host=replica",
    }
    (tmp_path / "stack.json").write_text(json.dumps(record))
    monkeypatch.setenv("FANFARE_REDIS_URL", "redis://said")
    settings = load_settings()
    assert settings.redis_address() == "redis://said"
    assert (settings.primary_dsn(), settings.replica_dsn()) == ("host=record", "host=replica")
    monkeypatch.setenv("FANFARE_POSTGRES_DSN", "postgresql://said")
    # The recorded replica does not follow that primary.
    assert load_settings().replica_dsn() == "postgresql://said"


def test_passwords_stay_out_of_representations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings can be logged without the passwords in them."""
    monkeypatch.setenv("FANFARE_POSTGRES_DSN", "postgresql://u:hunter2@h/d")
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "[::]", "192.0.2.7", "fanfare.example"])
def test_an_address_that_others_reach_is_refused(
    monkeypatch: pytest.MonkeyPatch, bind: str
) -> None:
    """Without authentication and TLS, only the operator's explicit word opens a port to others."""
    monkeypatch.setenv("FANFARE_BIND", bind)
    with pytest.raises(SettingsError, match="FANFARE_ALLOW_UNAUTHENTICATED_PLAINTEXT=true"):
        load_settings()
    monkeypatch.setenv("FANFARE_ALLOW_UNAUTHENTICATED_PLAINTEXT", "true")
    assert load_settings().bind == bind


def test_with_keys_and_certificates_any_address_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys alone are not enough, and the error says what is missing."""
    monkeypatch.setenv("FANFARE_BIND", "0.0.0.0")
    monkeypatch.setenv("FANFARE_AUTH_KEYS", "keys")
    with pytest.raises(SettingsError, match="connect without TLS;"):
        load_settings()
    monkeypatch.setenv("FANFARE_TLS_DIR", "tls")
    assert load_settings().bind == "0.0.0.0"


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_permission(monkeypatch: pytest.MonkeyPatch, bind: str) -> None:
    """An address that only this machine reaches needs neither keys nor certificates."""
    monkeypatch.setenv("FANFARE_BIND", bind)
    assert load_settings().bind == bind


@pytest.mark.parametrize("name", ["AUTH_KEYS", "TLS_DIR", "TRUSTED_PROXIES", "SECRETS_DIR"])
def test_a_protection_cannot_be_set_to_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """A value that a deployment forgot to fill in does not switch a protection off."""
    monkeypatch.setenv(f"FANFARE_{name}", "")
    with pytest.raises(SettingsError, match=f"FANFARE_{name} is set but empty"):
        load_settings()
    monkeypatch.delenv(f"FANFARE_{name}")
    if name != "SECRETS_DIR":
        (tmp_path / f"FANFARE_{name}").write_text("\n")
        monkeypatch.setenv("FANFARE_SECRETS_DIR", str(tmp_path))
        with pytest.raises(SettingsError, match=f"FANFARE_{name} is set but empty"):
            load_settings()


def test_a_secret_that_is_not_text_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error names the variable and the cause, and shows nothing of the file."""
    (tmp_path / "FANFARE_REDIS_URL").write_bytes(b"redis://:hunter2\xff@h")
    monkeypatch.setenv("FANFARE_SECRETS_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match="FANFARE_SECRETS_DIR has a file that is not") as error:
        load_settings()
    assert "hunter2" not in str(error.value)


def test_a_value_that_is_not_text_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that gets it would raise an error of its own; a path may have any bytes."""
    monkeypatch.setenv("FANFARE_BACKUP_DIR", os.fsdecode(b"/tmp/\xff"))
    load_settings()
    monkeypatch.setenv("FANFARE_READ_TARGET", os.fsdecode(b"hunter2\xff"))
    with pytest.raises(SettingsError, match="FANFARE_READ_TARGET is not UTF-8; set it") as error:
        load_settings()
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("postgres_dsn", "postgresql//u:hunter2@h/d"),
        ("postgres_dsn", "postgresql://u:hunter2%zz@h/d"),
        ("postgres_dsn", "postgresql://u:hunter2/w@h/d"),
        ("postgres_dsn", "postgresql://h/d?hunter2=1"),
        ("postgres_dsn", " "),
        ("postgres_replica_dsn", "hunter2"),
        ("redis_url", "redis://:hunter2/w@h"),
        ("redis_url", "http://:hunter2@h"),
        ("redis_url", "redis://h:hunter2"),
        ("redis_url", "redis://h?db=hunter2"),
    ],
)
def test_an_address_that_cannot_be_parsed_is_not_repeated(name: str, address: str) -> None:
    """The address may hold a password, so neither the error nor its traceback shows it."""
    given = {"postgres_dsn": SecretStr("host=h"), name: SecretStr(address)}
    settings = Settings(**given)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=f"FANFARE_{name.upper()} is not usable") as told:
        settings.redis_address() if name == "redis_url" else settings.replica_dsn()
    assert "hunter2" not in str(told.value)
    assert told.value.__suppress_context__ or told.value.__context__ is None


@pytest.mark.parametrize(
    "address",
    [
        "redis://h",
        "redis://h:6379",
        "redis://h:6379/0",
        "rediss://:p%2Fw@h:1/0?ssl_ca_certs=/a",
        "redis://u:p@[::1]:6379/0",
        "redis://:a:b@h:6379",
        "unix:///tmp/redis.sock",
        "redis://h?db=1",
    ],
)
def test_addresses_of_redis(address: str) -> None:
    """Every form that redis-py reads is accepted."""
    assert Settings(redis_url=SecretStr(address)).redis_address() == address


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:p%2Fw@h:5432/d?sslmode=verify-full",
        "postgres://h1:1,h2/d?target_session_attrs=read-write",
        "host=h1,h2 port=1,2 dbname=d password='a b'",
        "service=fanfare",
    ],
)
def test_addresses_of_postgres(address: str) -> None:
    """Every form that libpq reads is accepted."""
    assert Settings(postgres_dsn=SecretStr(address)).primary_dsn() == address


def test_passwords_may_stand_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file is named for its setting, loses its last newline, and yields to the environment."""
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


def test_a_folder_of_secrets_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the process would take its addresses from somewhere else."""
    monkeypatch.setenv("FANFARE_SECRETS_DIR", "/nowhere")
    with pytest.raises(SettingsError, match="FANFARE_SECRETS_DIR cannot be read: No such file"):
        load_settings()


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("127.0.0.1", "127.0.0.1:9"),
        ("::1", "[::1]:9"),
        ("[::1]", "[::1]:9"),
        ("0.0.0.0", "127.0.0.1:9"),
        ("::", "[::1]:9"),
        ("localhost", "localhost:9"),
        ("10.1.2.3", "10.1.2.3:9"),
    ],
)
def test_commands_ask_the_address_that_is_bound(bind: str, address: str) -> None:
    """What is printed and asked is what the processes listen on, in a form that URLs can have."""
    settings = Settings(bind=bind, write_port=9, read_port=9)
    assert settings.local_address(9) == address
    assert settings.write_service_target() == address
    assert settings.read_service_target() == address


@pytest.mark.parametrize("service", ["WRITE", "READ"])
def test_a_process_with_one_port_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    """The error names both settings. Different processes may have one port on different hosts."""
    monkeypatch.setenv(f"FANFARE_{service}_PORT", "7000")
    load_settings()
    monkeypatch.setenv(f"FANFARE_REST_{service}_PORT", "7000")
    both = f"FANFARE_{service}_PORT and FANFARE_REST_{service}_PORT are both 7000"
    with pytest.raises(SettingsError, match=both):
        load_settings()


def test_the_session_dsn_is_the_primary_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who has a pooler needs it; one that cannot be used is named, without its password."""
    monkeypatch.setenv("FANFARE_POSTGRES_DSN", "postgresql://user@pooler/db")
    assert load_settings().session_dsn() == "postgresql://user@pooler/db"
    monkeypatch.setenv("FANFARE_POSTGRES_SESSION_DSN", "postgresql://user@postgres/db")
    settings = load_settings()
    assert settings.session_dsn() == "postgresql://user@postgres/db"
    assert settings.primary_dsn() == "postgresql://user@pooler/db"
    monkeypatch.setenv("FANFARE_POSTGRES_SESSION_DSN", "hunter2 at postgres")
    with pytest.raises(SettingsError, match=r"^FANFARE_POSTGRES_SESSION_DSN is not usable") as told:
        load_settings().session_dsn()
    assert "hunter2" not in str(told.value)
