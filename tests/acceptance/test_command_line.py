"""The `fanfare` command as a user runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command_line import free_settings
from helpers.fanfare import Fanfare
from helpers.prometheus import scrape
from helpers.waiting import wait_until

from core.rpc.health_probe import health_serves
from core.rpc.tls import client_context, open_url
from core.settings import PREFIX
from embedded.stack import default_parts_dir

ROOT = Path(__file__).resolve().parents[2]


def _environment(state_dir: Path, **settings: str) -> dict[str, str]:
    own = {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}
    return dict(os.environ) | own | {f"{PREFIX}STATE_DIR": str(state_dir)}


def _left_behind(state_dir: Path) -> list[str]:
    """Return the command lines of running processes that contain the folder."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True
    )
    return [command for command in listed.stdout.splitlines() if str(state_dir) in command]


def test_the_demo_succeeds_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The demo shows Bob's tweet in Alice's timeline, exits with 0 and stops everything."""
    (tmp_path / "parts").symlink_to(default_parts_dir())  # so that nothing is fetched again
    demo = subprocess.run(
        ["fanfare", "demo"],
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert '"content": "Hello from Bob!"' in demo.stdout
    assert "$ grpcurl -plaintext" in demo.stdout
    assert "make up" in demo.stdout
    assert not _left_behind(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("demo-")]


@pytest.mark.parametrize(("number", "options"), [(signal.SIGINT, []), (signal.SIGTERM, ["--auth"])])
def test_up_serves_until_it_is_told_to_stop(
    fanfare: Fanfare, tmp_path: Path, number: signal.Signals, options: list[str]
) -> None:
    """Up uses given servers, prints its own addresses, and stops everything on a signal."""
    addresses = {
        "postgres_dsn": fanfare.settings.primary_dsn(),
        "redis_url": fanfare.settings.redis_address(),
        "kafka_bootstrap_servers": fanfare.settings.kafka_address(),
    }
    ports = free_settings()
    server = {"grpc_server": "grpcio"} if options else {}  # native has no TLS
    log = tmp_path / "up.log"
    with log.open("w") as output:
        up = subprocess.Popen(
            ["fanfare", "up", *options],
            env=_environment(tmp_path / "state", **addresses, **ports, **server),
            stdout=output,
            stderr=output,
        )
        try:
            wait_until(
                lambda: "Fanfare is up" in log.read_text() or up.poll() is not None, "it is up"
            )
            told = log.read_text()
            assert up.poll() is None, told
            url = re.search(r"queries: (https?)://(127\.0\.0\.1:\d+)", told)
            authority = re.search(r"curl --cacert (\S+) ", told)
            assert url is not None, told
            tls_dir = Path(authority[1]).parent if authority else None
            assert (url[1] == "https") == (tls_dir is not None) == bool(options), told
            assert health_serves(url[2], tls_dir)
            page = re.search(r"open (https?://localhost:\d+/) in a browser", told)
            assert page is not None, told
            with open_url(page[1], client_context(tls_dir), timeout=10) as answer:
                assert b"<title>Fanfare</title>" in answer.read()
            worker = re.search(r"Metrics .*worker (127\.0\.0\.1:\d+)", told)
            assert worker is not None, told
            assert scrape(worker[1], tls_dir)
            # All addresses, keys and certificates come from the record in the state folder.
            assert f"export FANFARE_STATE_DIR={tmp_path / 'state'}" in told
            status = subprocess.run(
                ["fanfare", "status"],
                env=_environment(tmp_path / "state"),
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert status.stdout.count("serving") == 5
            assert "not serving" not in status.stdout
        finally:
            up.send_signal(number)
            assert up.wait(60) == 0, log.read_text()
    assert not _left_behind(tmp_path)


def _killed(parent: int, module: str) -> bool:
    """Kill the process of a module that a `fanfare up` has started; return whether there was one.

    The process is a child of a keeper, which is a child of `fanfare up`.
    """
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    keepers = {pid for pid, ppid, *_ in rows if int(ppid) == parent}
    for pid, ppid, *command in rows:
        if ppid in keepers and command[0].endswith(f"-m {module}"):
            os.kill(int(pid), signal.SIGKILL)
            return True
    return False


@pytest.mark.parametrize("restarts", [1, 0])
def test_up_restarts_what_dies_and_gives_up_with_status_1(
    fanfare: Fanfare, tmp_path: Path, restarts: int
) -> None:
    """Up reports what died. If it has no restarts left, it stops everything and exits with 1."""
    settings = {
        "postgres_dsn": fanfare.settings.primary_dsn(),
        "redis_url": fanfare.settings.redis_address(),
        "kafka_bootstrap_servers": fanfare.settings.kafka_address(),
    } | free_settings()
    log = tmp_path / "up.log"
    code = (
        "import sys; from cli import main; from embedded import supervisor\n"
        f"supervisor.MAX_RESTARTS = {restarts}; sys.argv = ['fanfare', 'up']; main.main()"
    )
    with log.open("w") as output:
        up = subprocess.Popen(
            [sys.executable, "-c", code],
            env=_environment(tmp_path / "state", **settings),
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
        try:
            wait_until(
                lambda: "Fanfare is up" in log.read_text() or up.poll() is not None, "it is up"
            )
            assert _killed(up.pid, "read_service"), log.read_text()
            last = "The read process runs again." if restarts else "Error: "
            wait_until(lambda: last in log.read_text(), "the outcome is printed")
        finally:
            if restarts:
                up.send_signal(signal.SIGINT)
            status = up.wait(60)
    told = log.read_text()
    assert "The read process was ended by SIGKILL. The end of " in told
    assert "INFO core.rpc.server: serving gRPC port=" in told  # the end of its log
    assert status == (0 if restarts else 1), told
    if not restarts:
        assert "Error: The read process did not stay up after 0 restarts within 10 min" in told
    assert "Traceback" not in told
    assert not _left_behind(tmp_path)


def test_a_taken_port_is_reported_without_a_traceback(fanfare: Fanfare, tmp_path: Path) -> None:
    """Up exits with status 1 and says what to set.

    That is another port if a `make up` on this machine has the usual ones.
    """
    taken = str(fanfare.settings.read_port)
    up = subprocess.run(
        ["fanfare", "up"],
        env=_environment(tmp_path, read_port=taken),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert up.returncode == 1
    assert "listens on the port; stop it, or set FANFARE_" in up.stderr
    assert "Traceback" not in up.stderr


@pytest.mark.parametrize("looping", ["state", "state/parts"])
@pytest.mark.parametrize("command", ["up", "doctor", "demo"])
def test_a_link_that_leads_back_to_itself_shows_no_traceback(
    tmp_path: Path, looping: str, command: str
) -> None:
    """The commands that use the folders end with 1, and name the cause."""
    loop = tmp_path / looping
    loop.parent.mkdir(exist_ok=True)
    loop.symlink_to(loop)
    ended = subprocess.run(
        ["fanfare", command],
        env=_environment(tmp_path / "state"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    if command != "doctor" or looping == "state":  # the doctor does not look at the parts
        assert "Too many levels of symbolic links; " in ended.stdout + ended.stderr


@pytest.mark.parametrize("package", ["write_service", "read_service", "fanout_worker"])
def test_a_process_without_addresses_does_not_start(tmp_path: Path, package: str) -> None:
    """A process exits with a reason if a setting is misspelt or an address is missing."""
    typo = subprocess.run(
        ["python", "-m", package],
        env=_environment(tmp_path, postgres_dns="postgresql://elsewhere"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert typo.returncode == 1
    assert typo.stderr.startswith("fanfare: FANFARE_POSTGRES_DNS is not a setting")
    nothing = subprocess.run(
        ["python", "-m", package],
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert nothing.returncode == 1
    assert "is not set and no embedded stack is recorded" in nothing.stderr
    assert "Traceback" not in nothing.stderr
