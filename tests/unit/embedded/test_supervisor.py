"""The rules of the supervisor, with fake servers and a fake clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.waiting import wait_until

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
        self.lines: list[str] = ["disk", "is full"]
        self.reason: str | None = None
        self.starts = 0
        self.stops = 0
        # What start() does; a test replaces it.
        self.on_start: Callable[[], None] = lambda: None

    def restart_reason(self) -> str | None:
        """Return what the test has set."""
        return self.reason

    def log_lines(self) -> list[str]:
        """Return what the test has set."""
        return self.lines

    def start(self) -> None:
        """Call on_start(), then run."""
        self.starts += 1
        self.on_start()
        self.running, self.reason = True, None

    def stop(self) -> None:
        """Stop running."""
        self.stops += 1
        self.running = False

    def wait(self) -> int:
        """Return what the test has set."""
        assert not self.running
        return self.status


class FakeClock(threading.Event):
    """An event whose wait() advances a clock instead of waiting; it is set when the script ends."""

    def __init__(self, script: Callable[[], bool]) -> None:
        super().__init__()
        self.seconds = 1000.0
        self.pauses: list[float] = []
        self._script = script

    def now(self) -> float:
        """Return the time of the clock, in seconds."""
        return self.seconds

    def wait(self, timeout: float | None = None) -> bool:
        """Advance the clock; if this is the pause between two checks, run a step of the script."""
        assert timeout is not None
        self.seconds += timeout
        if timeout == POLL_SECONDS:
            if not self._script():
                self.set()
        else:
            self.pauses.append(timeout)
        return self.is_set()


def _watch(server: FakeServer, deaths: int, between: float = 0.0) -> tuple[list[str], FakeClock]:
    """Watch a server that dies repeatedly; return the reports and the clock.

    Args:
        server: the server.
        deaths: how often it dies.
        between: how long it runs before each death, in seconds.
    """
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


def test_a_death_is_reported_with_the_end_of_the_log_and_the_server_is_restarted() -> None:
    """The report says what died, the last lines of its log, and when it will be restarted."""
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


def test_the_exit_of_a_server_without_a_log_is_reported() -> None:
    """The report has the exit status, and names the log although it is empty."""
    server = FakeServer()
    server.status, server.lines = 3, []
    told, _ = _watch(server, 1)
    assert "Kafka exited with status 3. It wrote nothing to kafka.log." in told[0]


def test_pauses_grow_and_restarts_are_bounded() -> None:
    """A server that dies again after MAX_RESTARTS restarts ends the watch with an error."""
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


def test_restarts_before_the_window_do_not_count() -> None:
    """A server that dies only now and then is always restarted, after the shortest pause."""
    _, clock = _watch(FakeServer(), 3 * MAX_RESTARTS, WINDOW_SECONDS)
    assert clock.pauses == [1.0] * 3 * MAX_RESTARTS


def test_a_server_that_runs_but_is_useless_is_restarted() -> None:
    """A server with a restart_reason() is stopped and started, and the reason is reported."""
    server = FakeServer("Postgres' replica")
    server.reason = "requested WAL segment 1 has already been removed"
    clock = FakeClock(lambda: not server.starts)
    told: list[str] = []
    ServerWatcher(server, told.append, clock, clock.now).run()
    assert told[0].startswith("Postgres' replica was stopped: requested")
    assert "has already been removed" in told[0]
    assert (server.stops, server.starts, server.running) == (1, 1, True)


def test_an_exception_in_one_watcher_ends_the_watch_of_all() -> None:
    """No watcher is left that would restart the other servers while they are being stopped."""
    good, bad = FakeServer("Valkey"), FakeServer("Kafka")
    bad.on_start = lambda: _raise(ZeroDivisionError("a fault of the supervisor itself"))
    bad.running = False
    with pytest.raises(ZeroDivisionError):
        Supervisor([good, bad], lambda _: None).watch()
    good.running = False
    assert good.starts == 0
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_the_end_of_the_watch_stops_a_server_that_is_being_started() -> None:
    """The end of the watch does not wait until the server is ready, which may take a minute."""
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
    assert len(told) == 1  # the death, and not the start that was cancelled
