"""The parent of several processes, as far as it can be seen without starting any."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator

import pytest

from core.runtime import prefork
from core.settings import Settings

COUNT = 3


class _Process:
    """A process whose sentinel is the end of a pipe; its parent gets a signal while it starts."""

    def __init__(self, number: signal.Signals | None, ended_by: signal.Signals) -> None:
        self.sentinel, self._end = os.pipe()
        self.pid: int | None = None
        self.exitcode: int | None = None
        self._number = number
        self._ended_by = ended_by

    def start(self) -> None:
        if self._number is not None:
            os.kill(os.getpid(), self._number)
        self.pid = 1

    def terminate(self) -> None:
        if self.exitcode is None:
            self.exitcode = -self._ended_by
            os.close(self._end)

    def join(self) -> None:
        assert self.exitcode is not None

    def close(self) -> None:
        self.terminate()
        os.close(self.sentinel)


class _Context:
    """Creates the processes; the signal comes while the one with this index starts."""

    def __init__(
        self, index: int, number: signal.Signals, ended_by: signal.Signals = signal.SIGTERM
    ) -> None:
        self._index = index
        self._number = number
        self._ended_by = ended_by
        self.processes: list[_Process] = []

    def Process(self, **_: object) -> _Process:  # noqa: N802 - as multiprocessing calls it
        number = self._number if len(self.processes) == self._index else None
        self.processes.append(_Process(number, self._ended_by))
        return self.processes[-1]


@pytest.fixture
def _handlers() -> Iterator[None]:
    """Put the handlers of signals back."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("index", range(COUNT))
def test_a_signal_while_a_process_starts_stops_all(
    monkeypatch: pytest.MonkeyPatch, index: int, number: signal.Signals
) -> None:
    """The process that is being started is stopped as well, and no other one is started."""
    context = _Context(index, number)
    settings = Settings(read_processes=COUNT, share_ports=True)
    monkeypatch.setattr(prefork, "load_settings", lambda: settings)
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    try:
        prefork.run_prefork(_never_served, "unused")
        started = [process for process in context.processes if process.pid is not None]
        assert len(started) == index + 1
        assert all(process.exitcode == -signal.SIGTERM for process in started)
    finally:
        for process in context.processes:
            process.close()


@pytest.mark.usefixtures("_handlers")
def test_a_process_that_ctrl_c_has_ended_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C reaches all processes, and ends one that does not handle signals yet."""
    context = _Context(0, signal.SIGINT, signal.SIGINT)
    settings = Settings(read_processes=COUNT, share_ports=True)
    monkeypatch.setattr(prefork, "load_settings", lambda: settings)
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    try:
        prefork.run_prefork(_never_served, "unused")
    finally:
        for process in context.processes:
            process.close()


async def _never_served(*_: object) -> None:
    raise AssertionError
