"""The supervisor's rules, with a fake server and a fake clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.support import wait_until

from embedded.errors import StackError
from embedded.supervisor import (
    LONGEST_PAUSE_SECONDS,
    MAX_RESTARTS,
    POLL_SECONDS,
    WINDOW_SECONDS,
    ServerWatcher,
    Supervisor,
)


class FakeServer:
    """A server that dies when a test says so."""

    def __init__(self, name: str = "Kafka") -> None:
        self.name = name
        self.log_path = Path("kafka.log")
        self.running = True
        self.status = 137
        self.said: list[str] = ["disk", "is full"]
        self.ails: str | None = None
        self.starts = 0
        self.stops = 0
        # What start() does; a test replaces it.
        self.on_start: Callable[[], None] = lambda: None

    def restart_reason(self) -> str | None:
        """Return what the test says."""
        return self.ails

    def log_lines(self) -> list[str]:
        """Return what the test says."""
        return self.said

    def start(self) -> None:
        """Run, unless the test says otherwise."""
        self.starts += 1
        self.on_start()
        self.running, self.ails = True, None

    def stop(self) -> None:
        """Run no longer."""
        self.stops += 1
        self.running = False

    def wait(self) -> int:
        """Return what the test says."""
        assert not self.running
        return self.status


class FakeClock(threading.Event):
    """An event whose waits take no time but move a clock, and end when the script has ended."""

    def __init__(self, script: Callable[[], bool]) -> None:
        super().__init__()
        self.seconds = 1000.0
        self.pauses: list[float] = []
        self._script = script

    def now(self) -> float:
        """Return the time."""
        return self.seconds

    def wait(self, timeout: float | None = None) -> bool:
        """Let time pass, and when the server is being watched, run a step of the script."""
        assert timeout is not None
        self.seconds += timeout
        if timeout == POLL_SECONDS:
            if not self._script():
                self.set()
        else:
            self.pauses.append(timeout)
        return self.is_set()


def _watch(server: FakeServer, deaths: int, between: float = 0.0) -> tuple[list[str], FakeClock]:
    """Watch a server that dies so often, each time after so many seconds; return what was told."""
    left = [deaths]

    def step() -> bool:
        if not left[0]:
            return False
        left[0] -= 1
        clock.seconds += between
        server.running = False
        return True

    clock = FakeClock(step)
    told: list[str] = []
    ServerWatcher(server, told.append, clock, clock.now).run()
    return told, clock


def test_a_death_is_told_with_the_end_of_the_log_and_the_server_starts_again() -> None:
    """Whoever watches the terminal knows what died, what it said, and what is done."""
    server = FakeServer()
    told, clock = _watch(server, 1)
    assert "\n".join(told).splitlines() == [
        "Kafka was ended by SIGKILL. The end of kafka.log:",
        "    disk",
        "    is full",
        "Kafka will be restarted in 1 s (restart 1 of at most 10 within 10 minutes).",
        "Kafka runs again.",
    ]
    assert (server.starts, clock.pauses) == (1, [1.0])


def test_a_server_that_ended_by_itself_and_said_nothing() -> None:
    """There is still a place to look."""
    server = FakeServer()
    server.status, server.said = 3, []
    told, _ = _watch(server, 1)
    assert "Kafka exited with status 3. It wrote nothing to kafka.log." in told[0]


def test_pauses_grow_and_restarts_are_bounded() -> None:
    """A server that cannot stay up ends the watch, with one sentence."""
    server = FakeServer()
    pauses: list[float] = []

    def run() -> None:
        clock = FakeClock(lambda: True)
        clock.pauses = pauses
        server.on_start = lambda: _raise(StackError("no room"))
        server.running = False
        ServerWatcher(server, told.append, clock, clock.now).run()

    told: list[str] = []
    with pytest.raises(
        StackError, match="Kafka did not stay up after 10 restarts within 10 minutes"
    ):
        run()
    assert pauses == [1, 2, 4, 8, 16, *[LONGEST_PAUSE_SECONDS] * 5]
    assert server.starts == MAX_RESTARTS
    assert told[1].startswith(
        "Kafka did not start: no room\nKafka will be restarted in 2 s (restart 2"
    )


def _raise(error: Exception) -> None:
    raise error


def test_restarts_of_long_ago_do_not_count() -> None:
    """A server that dies now and then is started for ever, after short pauses."""
    _, clock = _watch(FakeServer(), 3 * MAX_RESTARTS, WINDOW_SECONDS)
    assert clock.pauses == [1.0] * 3 * MAX_RESTARTS


def test_a_server_that_runs_but_is_of_no_use_is_stopped_and_started() -> None:
    """As a replica whose WAL is gone from the primary."""
    server = FakeServer("Postgres' replica")
    server.ails = "requested WAL segment 1 has already been removed"
    clock = FakeClock(lambda: not server.starts)
    told: list[str] = []
    ServerWatcher(server, told.append, clock, clock.now).run()
    assert told[0].startswith("Postgres' replica was stopped: requested")
    assert "has already been removed" in told[0]
    assert (server.stops, server.starts, server.running) == (1, 1, True)


def test_any_server_that_cannot_be_kept_up_ends_the_watch_of_all() -> None:
    """And no watch is left behind that would start the others while they are being stopped."""
    good, bad = FakeServer("Valkey"), FakeServer("Kafka")
    bad.on_start = lambda: _raise(ZeroDivisionError("a fault of the supervisor itself"))
    bad.running = False
    with pytest.raises(ZeroDivisionError):
        Supervisor([good, bad], lambda _: None).watch()
    good.running = False
    assert good.starts == 0
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_the_end_of_the_watch_stops_a_server_that_is_being_started() -> None:
    """Else Ctrl-C would wait until it is ready, a minute at worst."""
    server = FakeServer()
    starting, stopped = threading.Event(), threading.Event()

    def start() -> None:
        starting.set()
        stopped.wait(60)
        raise StackError("stopped while starting")

    def stop() -> None:
        server.running = False
        stopped.set()

    server.on_start = start
    server.stop = stop  # type: ignore[method-assign]
    server.running = False
    told: list[str] = []
    supervisor = Supervisor([server], told.append)
    watch = threading.Thread(target=supervisor.watch)
    watch.start()
    wait_until(starting.is_set, "the restart is under way")
    supervisor.stop()
    wait_until(stopped.is_set, "the server is stopped")
    watch.join(30)
    assert not watch.is_alive()
    assert len(told) == 1  # of the death, not of the start that was given up
