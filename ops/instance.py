"""The instance that a command works on: all of its addresses come from one place.

`fanfare up` records where its servers and processes are, and whether they need access tokens and
TLS. A command that took some addresses from this record and others from the defaults would work on
half of one instance and half of another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr, ValidationError

from core.settings import PREFIX, STACK_FILE, Settings, SettingsError
from core.settings_loading import load_settings
from embedded.causes import real_path

# What `fanfare up` records beside the addresses of the servers, by the names of the settings.
RECORDED = (
    "bind",
    "write_port",
    "read_port",
    "worker_port",
    "rest_write_port",
    "rest_read_port",
    "read_processes",
    "metrics_port",
    "auth_keys",
    "tls_dir",
    "redis_prefix",
    "topic",
)


def load_instance_settings() -> Settings:
    """Return the settings of a command.

    What is not set comes from the record of `fanfare up` in the state folder, and where there is
    none, has its default. Nothing comes from a record of another database than that of
    FANFARE_POSTGRES_DSN.

    Raises:
        SettingsError: as load_settings() does, or the record cannot be used.
    """
    settings = load_settings()
    path = settings.state_dir / STACK_FILE
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return settings  # a command that needs an address says so
    except OSError as error:
        raise SettingsError(
            f"cannot read {path}: {error.strerror}; run this as the user who runs `fanfare up`, or "
            f"set {PREFIX}STATE_DIR to another folder"
        ) from error
    except ValueError as error:
        raise _unusable(path) from error
    return completed(settings, record, path)


def completed(settings: Settings, record: Mapping[str, object], path: Path) -> Settings:
    """Return the settings with what they lack from the record of their instance.

    Args:
        settings: what the operator has set.
        record: what `fanfare up` has recorded.
        path: the file of the record, for messages.

    Raises:
        SettingsError: the record has values that cannot be used.
    """
    given = settings.model_dump(exclude_unset=True)
    own = settings.postgres_dsn
    if own is not None and own.get_secret_value() != record.get("postgres_dsn"):
        return _SettingsOfAnotherInstance(**given)
    known = {name: value for name, value in record.items() if name in Settings.model_fields}
    try:
        return Settings(**(known | given))  # type: ignore[arg-type]
    except ValidationError as error:
        raise _unusable(path) from error


class _SettingsOfAnotherInstance(Settings):
    """Settings that take no address from the record in the state folder."""

    def _address(self, name: str, value: SecretStr | None) -> str:
        if value is None:
            raise SettingsError(
                f"{PREFIX}{name.upper()} is not set, and {self.state_dir / STACK_FILE} is of "
                f"another database than {PREFIX}POSTGRES_DSN; set both, or neither"
            )
        return value.get_secret_value()


def to_record(settings: Settings, own: Mapping[str, str]) -> dict[str, str | int | None]:
    """Return what is recorded of an instance beside the addresses of its servers.

    Args:
        settings: what the operator has set.
        own: what the instance has instead.
    """
    return {name: _plain(own.get(name, getattr(settings, name))) for name in RECORDED}


def _plain(value: str | int | Path | None) -> str | int | None:
    # A command may run in another folder.
    return str(real_path(value)) if isinstance(value, Path) else value


def _unusable(path: Path) -> SettingsError:
    return SettingsError(f"{path} is not a record of this version; run `fanfare up` again")
