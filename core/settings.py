"""Fanfare's settings, from the environment and from the embedded stack's record."""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "FANFARE_"
STACK_FILE = "stack.json"
SECRETS_DIR = "FANFARE_SECRETS_DIR"
DEFAULT_SILENCE_SECONDS = 15.0

# How addresses begin; the libraries know the rest.
_DSN = (r"postgres(ql)?://|\s*\w+\s*=", "postgresql://user:password@host:5432/database")
_ADDRESSES = {
    "postgres_dsn": _DSN,
    "postgres_replica_dsn": _DSN,
    # With a port that is one: a / in a password ends the host too early.
    "redis_url": (
        r"rediss?://([^/?#]*@)?(\[[^]]*\]|[^:/?#@]*)(:\d*)?([/?#]|$)|unix://",
        "redis://:password@host:6379/0",
    ),
}


class SettingsError(Exception):
    """The environment does not say what is needed; the text is one sentence for the operator."""


class Settings(BaseSettings):
    """Every setting, read from FANFARE_<NAME>; see the README for their meanings and units."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True)

    # They hold passwords: SecretStr keeps them out of logs and tracebacks.
    postgres_dsn: SecretStr | None = None
    postgres_replica_dsn: SecretStr | None = None
    redis_url: SecretStr | None = None
    # All of Fanfare's keys begin with it. No wildcards of SCAN, and no hash tag.
    redis_prefix: str = Field(default="fanfare:", pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    kafka_bootstrap_servers: SecretStr | None = None

    write_target: str = ""
    read_target: str = ""
    write_port: int = Field(default=50051, ge=0, le=65535)
    read_port: int = Field(default=50052, ge=0, le=65535)
    read_processes: int = Field(default=1, ge=1, le=256)
    worker_port: int = Field(default=50053, ge=0, le=65535)
    # 0 turns REST off.
    rest_write_port: int = Field(default=8081, ge=0, le=65535)
    rest_read_port: int = Field(default=8080, ge=0, le=65535)
    bind: str = "127.0.0.1"
    # Another process may listen on the same ports, so that a successor can start before this ends.
    share_ports: bool = False
    # Nothing hides what callers say, their tokens if they have any, from those on the way.
    allow_unauthenticated_plaintext: bool = False
    # A folder of keys: with it callers must say who they are.
    auth_keys: Path | None = None
    # A folder of certificates: with it nothing is sent in the clear between our processes.
    tls_dir: Path | None = None
    # Certificates' common names, separated by commas, whose holders call as services.
    tls_services: str = ""
    # The proxies whose X-Forwarded-For is believed.
    trusted_proxies: str = "127.0.0.0/8,::1"
    cors_origins: str = ""
    state_dir: Path = Path(".fanfare")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")
    timeline_length: int = Field(default=800, ge=1, le=100_000)
    timeline_ttl_days: float = Field(default=14, gt=0, le=3650)
    pull_followers: int = Field(default=100_000, ge=0)
    max_replica_lag: float = Field(default=10.0, gt=0)
    # The fan-out worker keeps so many follower ids in memory, of 8 bytes each.
    cached_followers: int = Field(default=50_000_000, ge=0)
    topic: str = "fanfare.feed.v1"
    # After so long without a sign from a server that owes an answer, its connection is given up.
    silence_seconds: float = Field(default=DEFAULT_SILENCE_SECONDS, ge=1, le=3600)

    def primary_dsn(self) -> str:
        """Return the DSN of the Postgres primary; raises SettingsError when none is known."""
        return self._address("postgres_dsn", self.postgres_dsn)

    def replica_dsn(self) -> str:
        """Return the DSN that queries go to: the replica's, or the primary's where none is set.

        Where neither is set, the embedded stack's record has both.
        """
        if self.postgres_replica_dsn is None:
            primary = self.primary_dsn()
            if self.postgres_dsn is not None:
                return primary
        return self._address("postgres_replica_dsn", self.postgres_replica_dsn)

    def redis_address(self) -> str:
        """Return the URL of Redis; raises SettingsError when none is known."""
        return self._address("redis_url", self.redis_url)

    def kafka_address(self) -> str:
        """Return Kafka's bootstrap servers; raises SettingsError when none are known."""
        return self._address("kafka_bootstrap_servers", self.kafka_bootstrap_servers)

    def timeline_ttl_seconds(self) -> int:
        """Return how long timelines and bodies outlive their last read in Redis, in seconds."""
        return int(self.timeline_ttl_days * 86_400) or 1

    def write_service_target(self) -> str:
        """Return host:port of the write service, on this machine where none is set."""
        return self.write_target or f"127.0.0.1:{self.write_port}"

    def read_service_target(self) -> str:
        """Return host:port of the read service, on this machine where none is set."""
        return self.read_target or f"127.0.0.1:{self.read_port}"

    def service_names(self) -> list[str]:
        """Return the common names of certificates whose holders call as services."""
        return [name.strip() for name in self.tls_services.split(",") if name.strip()]

    def _address(self, name: str, value: SecretStr | None) -> str:
        if value is not None:
            address = value.get_secret_value()
            if name in _ADDRESSES:
                pattern, example = _ADDRESSES[name]
                if not re.match(pattern, address):
                    # The libraries would repeat it in the log, with its password.
                    raise SettingsError(
                        f"{PREFIX}{name.upper()} is not usable: write {example}, with %-escapes "
                        "for what a URL cannot hold."
                    )
            return address
        record = self.state_dir / STACK_FILE
        try:
            return str(json.loads(record.read_text())[name])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{PREFIX}{name.upper()} is not set and no embedded stack is recorded in {record}: "
                "set it, or run `make up` first."
            ) from error


def load_settings() -> Settings:
    """Return the settings of this process: from the environment, else from files of their names.

    The files are in the folder FANFARE_SECRETS_DIR, as Docker and Kubernetes mount secrets.

    Raises SettingsError for a value out of range, for a FANFARE_ variable that is none of ours (a
    misspelt name must not leave its setting at the default unnoticed), and for an address that
    other machines reach, unless the operator allows it.
    """
    names = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    folder = os.environ.get(SECRETS_DIR) or None
    given = (*os.environ.items(), *_files(folder).items())
    for variable, _ in given:
        if variable.startswith(PREFIX) and variable not in {*names, SECRETS_DIR}:
            near = difflib.get_close_matches(variable, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(names))}."
            raise SettingsError(f"{variable} is not a setting of Fanfare: {hint}")
    try:
        # mypy does not see the argument of pydantic-settings.
        settings = Settings(_secrets_dir=folder)  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{PREFIX}{str(first['loc'][0]).upper()}"
        raise SettingsError(f"{name} is not usable: {first['msg']}.") from None
    protecting = {
        f"{PREFIX}{name}" for name in ("AUTH_KEYS", "SECRETS_DIR", "TLS_DIR", "TRUSTED_PROXIES")
    }
    for variable, value in given:
        # As when a deployment forgot the value: what protects must not be off by that.
        if not value.strip() and variable.upper() in protecting:
            raise SettingsError(
                f"{variable} is set to nothing: give it its value, or do not set it; "
                "FANFARE_TRUSTED_PROXIES=none trusts no proxy."
            )
    lacking = [
        name
        for name, value in (("authentication", settings.auth_keys), ("TLS", settings.tls_dir))
        if value is None
    ]
    if lacking and not (settings.allow_unauthenticated_plaintext or _is_loopback(settings.bind)):
        raise SettingsError(
            f"FANFARE_BIND is {settings.bind}, where other machines may call, without "
            f"{' and '.join(lacking)}: set FANFARE_AUTH_KEYS and FANFARE_TLS_DIR, or keep to "
            "127.0.0.1 behind a proxy that has both, or set "
            "FANFARE_ALLOW_UNAUTHENTICATED_PLAINTEXT=true where only trusted machines can connect."
        )
    return settings


def _files(folder: str | None) -> dict[str, str]:
    """Return the settings that the folder has files for, and what is in these."""
    if folder is None:
        return {}
    try:
        ours = [path for path in Path(folder).iterdir() if path.name.upper().startswith(PREFIX)]
        return {path.name.upper(): path.read_text() for path in ours if path.is_file()}
    except (OSError, UnicodeDecodeError) as error:
        # Not with what is in a file, which UnicodeDecodeError holds.
        reason = error.strerror if isinstance(error, OSError) else "it has a file that is no text"
        raise SettingsError(f"{SECRETS_DIR} is {folder}, which cannot be read: {reason}.") from None


def _is_loopback(bind: str) -> bool:
    try:
        return ipaddress.ip_address(bind.strip("[]")).is_loopback
    except ValueError:
        # Other names are the resolver's to decide, which may change its mind.
        return bind == "localhost"
