"""Checks of the settings among each other, and of the Python packages that are installed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from core.settings import PREFIX, GrpcServerKind, Settings, SettingsError
from core.settings_loading import refuse_equal_ports
from ops.doctor.runner import Check
from ops.doctor.verdicts import Status, Verdict, verdict_of_sentence

# The versions that Fanfare was tested with. A checkout has them, a container does not.
LOCKS = Path(__file__).resolve().parents[2] / "requirements"
_NATIVE = "pygrpc-native"


def package_check() -> Check:
    """Return the check of the Python packages, which needs no settings."""
    return Check("packages", _check_packages)


def setting_check(settings: Settings) -> Check:
    """Return the check of settings that do not fit together.

    What load_settings() refuses is not checked again.
    """
    return Check(
        "settings",
        lambda: setting_verdicts(settings) or [Verdict(Status.OK, "fit together")],
    )


def setting_verdicts(settings: Settings) -> list[Verdict]:
    """Return the verdicts on settings that do not fit together."""
    verdicts = []
    has_auth, has_tls = settings.auth_keys is not None, settings.tls_dir is not None
    if settings.allow_unauthenticated_plaintext and not (has_auth and has_tls):
        missing = " and ".join(
            name for name, is_on in (("authentication", has_auth), ("TLS", has_tls)) if not is_on
        )
        verdicts.append(
            Verdict(
                Status.WARN,
                f"FANFARE_ALLOW_UNAUTHENTICATED_PLAINTEXT lets FANFARE_BIND be any address without "
                f"{missing}",
                "set FANFARE_AUTH_KEYS and FANFARE_TLS_DIR, and unset it",
            )
        )
    if settings.service_names() and not (has_auth and has_tls):
        verdicts.append(
            _without_effect("tls_services", "FANFARE_AUTH_KEYS and FANFARE_TLS_DIR are set")
        )
    if settings.security_log is not None and not has_auth:
        verdicts.append(_without_effect("security_log", "FANFARE_AUTH_KEYS is set"))
    if settings.cors_origins and not (settings.rest_write_port or settings.rest_read_port):
        verdicts.append(_without_effect("cors_origins", "a REST port is not 0"))
    if settings.demo_page and not settings.rest_read_port:
        verdicts.append(_without_effect("demo_page", "FANFARE_REST_READ_PORT is not 0"))
    if settings.grpc_server is GrpcServerKind.NATIVE and _installed(_NATIVE) is None:
        text = f"FANFARE_GRPC_SERVER=native needs the package {_NATIVE}, which is not installed"
        cure = "`pip install --require-hashes -r requirements/native.txt`, or set it to grpcio"
        verdicts.append(Verdict(Status.FAIL, text, cure))
    names = ("write_port", "read_port", "worker_port", "rest_write_port", "rest_read_port")
    try:
        refuse_equal_ports({_variable(name): getattr(settings, name) for name in names})
    except SettingsError as error:
        # Right where the processes run on different machines.
        verdicts.append(verdict_of_sentence(str(error), Status.WARN))
    return verdicts


def package_verdicts(
    needed: Iterable[str], installed: Mapping[str, str], locked: Mapping[str, set[str]]
) -> list[Verdict]:
    """Return the verdicts on the Python packages.

    Args:
        needed: the packages without which nothing works.
        installed: the version of each package that is installed.
        locked: the versions of each package that Fanfare was tested with.
    """
    missing = sorted(name for name in needed if name not in installed)
    other = sorted(
        f"{name} {installed[name]} (tested with {' and '.join(sorted(versions))})"
        for name, versions in locked.items()
        if name in installed and installed[name] not in versions
    )
    reinstall = "install the versions of requirements/run.txt (`make` does so in .venv)"
    verdicts = []
    if missing:
        text = f"not installed: {', '.join(missing)}"
        verdicts.append(Verdict(Status.FAIL, text, reinstall))
    if other:
        text = f"not the versions that Fanfare was tested with: {', '.join(other)}"
        verdicts.append(Verdict(Status.WARN, text, reinstall))
    return verdicts


def locked_versions(*locks: str) -> dict[str, set[str]]:
    """Return the versions of each package in the texts of locks.

    A package has several if the version depends on that of Python.
    """
    versions: dict[str, set[str]] = {}
    for lock in locks:
        for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock, re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    return versions


def _check_packages() -> list[Verdict]:
    requirements = metadata.requires("fanfare") or []
    needed = [_name(text) for text in requirements if "extra ==" not in text]
    paths = (LOCKS / f"{lock}.txt" for lock in ("run", "native", "tracing"))
    locked = locked_versions(*(path.read_text() for path in paths if path.exists()))
    names = {*needed, *locked}
    installed = {name: version for name in names if (version := _installed(name)) is not None}
    verdicts = package_verdicts(needed, installed, locked)
    return verdicts or [Verdict(Status.OK, f"{len(installed)} are installed")]


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _without_effect(name: str, condition: str) -> Verdict:
    text = f"{_variable(name)} has no effect unless {condition}"
    return Verdict(Status.WARN, text, "set both, or neither")


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"
