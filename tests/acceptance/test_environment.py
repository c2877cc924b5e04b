"""The whole system in an environment that is meant for other programs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.command_line import free_settings
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until
from psycopg import pq

from core.rpc.tls import open_url
from core.settings import PREFIX
from embedded.stack import default_parts_dir

TEXT = "東京タワー 🗼"


class FakeProxy:
    """Listens as an HTTP proxy would, counts connections, and answers none."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def proxy() -> Iterator[FakeProxy]:
    """Return a proxy that must not be used."""
    running = FakeProxy()
    yield running
    running.close()


def _hostile(proxy: str) -> dict[str, str]:
    """Return an environment in which every library that we use would misbehave if it obeyed."""
    libpq = {each.envvar.decode(): "hostile" for each in pq.Conninfo.get_defaults() if each.envvar}
    proxies = {
        name: proxy
        for each in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
        for name in (each, each.upper())
    }
    return (
        {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
        | libpq
        | proxies
        | {
            # libpq, and the programs of Postgres
            "PGTZ": "Asia/Tokyo",
            "PGDATESTYLE": "SQL, DMY",
            "PGDATA": "/nonexistent",
            "PGSERVICEFILE": "/nonexistent",
            "PGSYSCONFDIR": "/nonexistent",
            # Java and Kafka
            "JAVA_TOOL_OPTIONS": "-Dhostile",
            "_JAVA_OPTIONS": "-Xmx1m",
            "JDK_JAVA_OPTIONS": "-Xmx1m",
            "JAVA_HOME": "/nonexistent",
            "CLASSPATH": "hostile",
            "KAFKA_OPTS": "-Dhostile",
            "KAFKA_HEAP_OPTS": "-Xmx1m",
            "LOG_DIR": "/nonexistent",
            # grpc, where other programs prefer something else
            "GRPC_DNS_RESOLVER": "native",
            "GRPC_POLL_STRATEGY": "poll",
            # Python
            "SSLKEYLOGFILE": "/nonexistent/keys",
            "PYTHONWARNINGS": "error",
            "PYTHONSAFEPATH": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONASYNCIODEBUG": "1",
            # the system
            "LANG": "tr_TR.UTF-8",
            "TZ": "Asia/Tokyo",
            "TMPDIR": "/nonexistent",
            "HOME": "/nonexistent",
            "XDG_RUNTIME_DIR": "/nonexistent",
        }
    )


@contextmanager
def _up(environment: dict[str, str], log: Path, *options: str) -> Iterator[str]:
    """Run `fanfare up`; yield what it printed until it was up."""
    with log.open("w") as output:
        up = subprocess.Popen(
            ["fanfare", "up", *options], env=environment, stdout=output, stderr=output
        )
        try:
            wait_until(
                lambda: "Fanfare is up" in log.read_text() or up.poll() is not None, "it is up"
            )
            assert up.poll() is None, log.read_text()
            yield log.read_text()
        finally:
            up.send_signal(signal.SIGINT)
            assert up.wait(60) == 0, log.read_text()


def _rest(verb: str, url: str, body: Mapping[str, object] | None = None) -> dict[str, object]:
    request = urllib.request.Request(  # noqa: S310 - it is on this machine
        url,
        method=verb,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Content-Type": "application/json"} if body is not None else {},
    )
    with open_url(request, None, 30.0) as response:
        text = response.read()
    answer: dict[str, object] = json.loads(text) if text else {}
    return answer


def _status(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["fanfare", "status"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_variables_of_other_programs_change_nothing(tmp_path: Path, proxy: FakeProxy) -> None:
    """The embedded system starts, serves every character, and asks no proxy."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "parts").symlink_to(default_parts_dir())  # so that nothing is fetched again
    environment = _hostile(proxy.url) | {f"{PREFIX}STATE_DIR": str(state)}
    with _up(environment, tmp_path / "up.log", "--ports", "auto") as told:
        places = dict(re.findall(r"(Commands|queries): (http://[\d.]+:\d+)", told))
        user = {"username": "tokyo", "email": "tokyo@example.com", "password": "pass1234"}
        commands, queries = places["Commands"], places["queries"]
        _rest("POST", f"{commands}/users", user | {"bio": TEXT})
        _rest("POST", f"{commands}/tweets", {"user_id": 1, "content": TEXT})
        answer = _rest("GET", f"{queries}/tweets/user/1")
        assert [tweet["content"] for tweet in answer["tweets"]] == [TEXT]  # type: ignore[attr-defined]
        ports = [*re.findall(r"gRPC [\d.]+:(\d+)", told), *re.findall(r"http://[\d.]+:(\d+)", told)]
        names = ("write_port", "read_port", "rest_write_port", "rest_read_port")
        own = dict(zip((f"{PREFIX}{name.upper()}" for name in names), ports, strict=True))
        status = _status(environment | own)
        assert "Traceback" not in status.stderr
        assert status.stdout.count("serving") - status.stdout.count("not serving") >= 4
    assert proxy.connections == 0


def _given(fanfare: Fanfare, state_dir: Path) -> dict[str, str]:
    """Return an environment in which `fanfare up` starts only Fanfare's own processes."""
    settings = fanfare.settings
    own = {
        "state_dir": str(state_dir),
        "postgres_dsn": settings.primary_dsn(),
        "redis_url": settings.redis_address(),
        "kafka_bootstrap_servers": settings.kafka_address(),
        **free_settings(),
    }
    return dict(os.environ) | {f"{PREFIX}{name.upper()}": value for name, value in own.items()}


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="IPv6 is off")
@pytest.mark.parametrize("options", [[], ["--auth"]])
def test_up_serves_on_another_address(fanfare: Fanfare, tmp_path: Path, options: list[str]) -> None:
    """What is printed, probed and asked by commands is the address that is bound."""
    environment = _given(fanfare, tmp_path / "state") | {"FANFARE_BIND": "::1"}
    if options:
        environment["FANFARE_GRPC_SERVER"] = "grpcio"  # native has no TLS
    with _up(environment, tmp_path / "up.log", *options) as told:
        assert "gRPC [::1]:" + environment["FANFARE_WRITE_PORT"] in told
        exports = dict(re.findall(r"(FANFARE_\w+)=(\S+)", told))
        status = _status(environment | exports)
        assert status.stdout.count("serving") == 5, status.stdout
        assert "not serving" not in status.stdout


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"FANFARE_READ_PORT": "10", "FANFARE_WORKER_PORT": "10"},
            "FANFARE_READ_PORT and FANFARE_WORKER_PORT are both 10; give each a port of its own",
        ),
        (
            {"FANFARE_BIND": "192.0.2.1", "FANFARE_ALLOW_UNAUTHENTICATED_PLAINTEXT": "true"},
            "this machine does not have the address; set FANFARE_BIND to one that it has",
        ),
        # Only the process itself finds this one.
        (
            {"FANFARE_CORS_ORIGINS": "https://app.example/path"},
            "process ended while starting: fanfare: FANFARE_CORS_ORIGINS",
        ),
    ],
)
def test_a_start_that_fails_says_why(
    fanfare: Fanfare, tmp_path: Path, changes: dict[str, str], text: str
) -> None:
    """Up ends with one sentence as soon as the cause is known, and leaves nothing running."""
    up = subprocess.run(
        ["fanfare", "up"],
        env=_given(fanfare, tmp_path / "state") | changes,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert up.returncode == 1
    assert text in up.stderr
    assert "Traceback" not in up.stderr
    assert "was not ready after" not in up.stderr
