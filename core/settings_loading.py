"""Loads the settings, and refuses those that cannot be meant."""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from core.settings import PREFIX, GrpcServerKind, Settings, SettingsError, variable_of

SECRETS_DIR = "FANFARE_SECRETS_DIR"
# An empty value would switch off the protection that the operator meant to switch on.
_PROTECTING = {"FANFARE_AUTH_KEYS", SECRETS_DIR, "FANFARE_TLS_DIR", "FANFARE_TRUSTED_PROXIES"}


def load_settings() -> Settings:
    """Return the settings of this process.

    A setting comes from its environment variable, or else from the file of that name in the folder
    FANFARE_SECRETS_DIR, where Docker and Kubernetes mount secrets. Otherwise it has its default.

    Raises:
        SettingsError: a value is unusable; a FANFARE_ variable is not a setting (otherwise a typo
            would silently leave a setting at its default); a text is not UTF-8; a setting that
            protects the service is empty; or other machines could connect without
            authentication or without TLS, and allow_unauthenticated_plaintext is not set; or TLS is
            on with a gRPC server that does not have it; or a process has one port twice.
    """
    folder = os.environ.get(SECRETS_DIR) or None
    given = [*os.environ.items(), *_secret_files(folder)]
    _refuse_unknown(name for name, _ in given)
    _refuse_empty(given)
    _refuse_other_encodings(given)
    try:
        # mypy does not know this argument of pydantic-settings.
        settings = Settings(_secrets_dir=folder)  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(
            f"{variable_of(str(first['loc'][0]))} is not usable: {first['msg']}"
        ) from None
    _refuse_exposed(settings)
    refuse_native_tls(settings)
    # Each process has two ports. Those of different processes may be the same on different hosts.
    for pair in (("write_port", "rest_write_port"), ("read_port", "rest_read_port")):
        refuse_equal_ports({variable_of(name): getattr(settings, name) for name in pair})
    return settings


def refuse_native_tls(settings: Settings) -> None:
    """Refuse TLS with the native gRPC server.

    Raises:
        SettingsError: both are set.
    """
    if settings.grpc_server is GrpcServerKind.NATIVE and settings.tls_dir is not None:
        raise SettingsError(
            "FANFARE_GRPC_SERVER=native has no TLS; set FANFARE_GRPC_SERVER=grpcio, or unset "
            "FANFARE_TLS_DIR and let a proxy on this machine terminate TLS"
        )


def refuse_equal_ports(ports: Mapping[str, int]) -> None:
    """Refuse ports of which two are the same.

    Args:
        ports: the ports of one machine, by the names of their settings; 0 means none.

    Raises:
        SettingsError: two of them are the same.
    """
    owners: dict[int, str] = {}
    for owner, port in ports.items():
        if port and port in owners:
            raise SettingsError(
                f"{owners[port]} and {owner} are both {port}; give each a port of its own"
            )
        owners[port] = owner


def _secret_files(folder: str | None) -> list[tuple[str, str]]:
    """Return the variable and the content of each file in the folder that is named like one."""
    if folder is None:
        return []
    try:
        ours = [path for path in Path(folder).iterdir() if path.name.upper().startswith(PREFIX)]
        return [(path.name.upper(), path.read_text()) for path in ours if path.is_file()]
    except OSError as error:
        raise SettingsError(f"{SECRETS_DIR} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        # The error's own message would show bytes of the file.
        raise SettingsError(f"{SECRETS_DIR} has a file that is not UTF-8") from None


def _refuse_unknown(variables: Iterable[str]) -> None:
    names = {variable_of(name) for name in Settings.model_fields} | {SECRETS_DIR}
    for variable in variables:
        # The settings themselves are found whatever their case, so a typo is one in any case.
        if variable.upper().startswith(PREFIX) and variable.upper() not in names:
            near = difflib.get_close_matches(variable.upper(), names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(names))}"
            raise SettingsError(f"{variable} is not a setting of Fanfare; {hint}")


def _refuse_empty(given: Iterable[tuple[str, str]]) -> None:
    for variable, value in given:
        if not value.strip() and variable.upper() in _PROTECTING:
            raise SettingsError(
                f"{variable} is set but empty; give it a value, or do not set it "
                "(FANFARE_TRUSTED_PROXIES=none trusts no proxy)"
            )


def _refuse_other_encodings(given: Iterable[tuple[str, str]]) -> None:
    # A path may have any bytes. The libraries that get the other values would raise errors of
    # their own.
    fields = {variable_of(name): field for name, field in Settings.model_fields.items()}
    for variable, value in given:
        field = fields.get(variable.upper())
        if field is None or field.annotation in {Path, Path | None}:
            continue
        try:
            value.encode()
        except UnicodeEncodeError:
            # The error's own message would show the value, which may be a password.
            raise SettingsError(f"{variable} is not UTF-8; set it to text that is") from None


def _refuse_exposed(settings: Settings) -> None:
    protections = {"authentication": settings.auth_keys, "TLS": settings.tls_dir}
    missing = [name for name, value in protections.items() if value is None]
    if missing and not (settings.allow_unauthenticated_plaintext or _is_loopback(settings.bind)):
        raise SettingsError(
            f"FANFARE_BIND lets other machines connect without {' and '.join(missing)}; set "
            "FANFARE_AUTH_KEYS and FANFARE_TLS_DIR, or bind to 127.0.0.1 behind a proxy that has "
            "both, or set FANFARE_ALLOW_UNAUTHENTICATED_PLAINTEXT=true if only trusted machines "
            "can connect"
        )


def _is_loopback(bind: str) -> bool:
    try:
        return ipaddress.ip_address(bind.strip("[]")).is_loopback
    except ValueError:
        # Any other name may resolve to a different address later.
        return bind == "localhost"
