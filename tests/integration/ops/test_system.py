"""What a start of the whole system refuses before it starts anything."""

from __future__ import annotations

import fcntl
import socket
from pathlib import Path

import pytest

from core.settings import Settings, SettingsError
from embedded.errors import StackError
from ops.system import FIXED_METRICS_PORT, System


def test_a_second_start_in_one_folder_is_not_told_to_stop_its_servers(tmp_path: Path) -> None:
    """The ports are taken too, but by servers that the first start would only restart."""
    with socket.create_server(("127.0.0.1", 0)) as taken, (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        settings = Settings(read_port=taken.getsockname()[1])
        second = System(tmp_path, tmp_path / "parts", given=settings, fixed_ports=True)
        with pytest.raises(StackError, match="another `fanfare up` runs in"):
            second.start()


@pytest.mark.parametrize("name", ["write_port", "read_port", "worker_port"])
def test_a_port_that_nobody_would_know_is_refused(tmp_path: Path, name: str) -> None:
    """A service with port 0 listens on any; the system could not find it, nor could a caller."""
    settings = Settings.model_validate({name: 0})
    system = System(tmp_path / "state", tmp_path, given=settings, fixed_ports=True)
    with pytest.raises(SettingsError, match=f"FANFARE_{name.upper()} is 0"):
        system.start()
    # The refused start has released the folder.
    with (tmp_path / "state" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_metrics_port_that_another_process_has_is_refused(tmp_path: Path) -> None:
    """Each process has one, counted from the setting, so a clash is not seen in the settings."""
    settings = Settings(metrics_port=20_000, read_processes=2, rest_read_port=20_011)
    system = System(tmp_path / "state", tmp_path, given=settings, fixed_ports=True)
    clash = "FANFARE_REST_READ_PORT and FANFARE_METRICS_PORT of read process 2 are both 20011"
    with pytest.raises(SettingsError, match=clash):
        system.start()


def test_metrics_have_the_usual_port_unless_another_is_set(tmp_path: Path) -> None:
    """A 0 turns them off, on fixed and on free ports."""

    def port(*, fixed_ports: bool, **given: int) -> int:
        settings = Settings.model_validate(given)
        system = System(tmp_path / "state", tmp_path, given=settings, fixed_ports=fixed_ports)
        return system.settings.metrics_port

    assert port(fixed_ports=True) == FIXED_METRICS_PORT
    assert port(fixed_ports=True, metrics_port=20_000) == 20_000
    assert port(fixed_ports=False) not in {0, FIXED_METRICS_PORT}
    assert [port(fixed_ports=fixed, metrics_port=0) for fixed in (True, False)] == [0, 0]


def test_the_native_grpc_server_is_refused_with_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything is started, in one sentence."""
    monkeypatch.setenv("FANFARE_GRPC_SERVER", "native")
    with pytest.raises(SettingsError, match=r"^FANFARE_GRPC_SERVER=native has no TLS"):
        System(tmp_path / "state", tmp_path, auth=True)


def test_a_prometheus_that_is_missing_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=r"^Prometheus is not installed; install it \(Debian:"):
        System(tmp_path / "state", tmp_path, prometheus_rules=tmp_path)


def test_a_prometheus_without_metrics_is_refused(tmp_path: Path) -> None:
    """It would find nothing to scrape."""
    off = Settings(metrics_port=0)
    with pytest.raises(SettingsError, match=r"^FANFARE_METRICS_PORT is 0, so Prometheus"):
        System(tmp_path / "state", tmp_path, given=off, prometheus_rules=tmp_path)
