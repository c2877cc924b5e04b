"""The limits of open streams, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack

import pytest

from core.errors import RetryableError
from core.rpc import streams as module
from core.rpc.streams import (
    DEFAULT_MAX_STREAMS,
    DEFAULT_STREAMS_PER_CALLER,
    OpenStream,
    Streams,
)
from core.settings import Settings
from core.watch_errors import WATCH_AGAIN_SECONDS, TooManyWatchesError, WatchEndedError

TIMEOUT_SECONDS = 5.0


class _Events:
    """Yields one event and then waits; notes how it ended."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.is_closed = False

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            self.waiting.set()
            await asyncio.Event().wait()
        finally:
            self.is_closed = True


async def test_a_process_has_a_limit_for_all_callers() -> None:
    """A stream that has ended makes room for another."""
    streams = Streams(most=2, most_per_caller=2)
    with ExitStack() as stack:
        stack.enter_context(streams.opened("a"))
        with streams.opened("b"):
            assert streams.count == 2
            with pytest.raises(TooManyWatchesError, match="all callers together have 2") as error:
                stack.enter_context(streams.opened("c"))
        assert error.value.metadata == {"limit": "2"}
        assert error.value.retry_after == WATCH_AGAIN_SECONDS
        stack.enter_context(streams.opened("c"))
    assert streams.count == 0


async def test_each_caller_has_a_limit() -> None:
    """Callers without a name have none."""
    streams = Streams(most=10, most_per_caller=1)
    with streams.opened("a"), streams.opened("b"), streams.opened(""), streams.opened(""):
        with pytest.raises(TooManyWatchesError, match="the caller has 1 open"):
            streams.opened("a").__enter__()
        assert streams.count == 4
    with streams.opened("a"):
        pass
    assert not streams._by_caller


async def _consume(streams: Streams, events: AsyncGenerator[bytes, None]) -> None:
    with streams.opened("") as stream:
        while await stream.next(events) is not None:
            pass


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_stream_that_waits_ends_at_once(*, is_closed: bool) -> None:
    """Its client is told when to come back; a process that goes on takes other streams."""
    streams, events = Streams(), _Events()
    task = asyncio.create_task(_consume(streams, events()))
    await events.waiting.wait()
    streams.close() if is_closed else streams.end_all()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        with pytest.raises(WatchEndedError) as error:
            await task
    assert 0 <= error.value.retry_after <= WATCH_AGAIN_SECONDS
    assert isinstance(error.value, RetryableError)
    assert events.is_closed
    assert streams.count == 0
    if is_closed:
        with pytest.raises(WatchEndedError):
            streams.opened("").__enter__()
    else:
        with streams.opened(""):
            assert streams.count == 1


async def test_a_client_that_leaves_during_a_drain_is_not_answered() -> None:
    """Its task stays cancelled, whichever comes first."""
    for is_first in (False, True):
        streams, events = Streams(), _Events()
        task = asyncio.create_task(_consume(streams, events()))
        await events.waiting.wait()
        if is_first:
            task.cancel()
        streams.close()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class _Sending:
    """A task that has taken an event of a stream, and sends it until it is told to go on."""

    def __init__(self, streams: Streams) -> None:
        self.entered = asyncio.Event()
        self.sent = asyncio.Event()
        self.task = asyncio.create_task(self._run(streams))

    async def _run(self, streams: Streams) -> None:
        events = _Events()()
        with streams.opened("") as stream:
            await stream.next(events)
            self.entered.set()
            await self.sent.wait()
            await stream.next(events)


async def test_an_event_that_is_being_sent_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream ends after it."""
    monkeypatch.setattr(module, "SENDING_SECONDS", 60.0)
    streams = Streams()
    sending = _Sending(streams)
    await sending.entered.wait()
    streams.close()
    streams.close()
    await asyncio.sleep(0)
    assert not sending.task.done()
    sending.sent.set()
    done, _ = await asyncio.wait([sending.task], timeout=TIMEOUT_SECONDS)
    assert done == {sending.task}
    assert isinstance(sending.task.exception(), WatchEndedError)


async def test_a_client_that_does_not_read_does_not_hold_up_a_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a moment its task is cancelled."""
    monkeypatch.setattr(module, "SENDING_SECONDS", 0.01)
    streams = Streams()
    sending = _Sending(streams)
    await sending.entered.wait()
    streams.close()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        with pytest.raises(asyncio.CancelledError):
            await sending.task
    assert streams.count == 0


async def test_a_client_that_never_reads_does_not_keep_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Streams that wait for an event go on."""
    monkeypatch.setattr(module, "UNREAD_SECONDS", 0.01)
    streams, events = Streams(), _Events()
    waiting = asyncio.create_task(_consume(streams, events()))
    await events.waiting.wait()
    for _ in range(2):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            with pytest.raises(asyncio.CancelledError):
                await _Sending(streams).task
        assert streams.count == 1
    assert not waiting.done()
    waiting.cancel()


async def test_a_client_that_reads_slowly_keeps_its_place() -> None:
    """However long it takes for all events, if it does not take too long for one."""
    streams = Streams()

    async def events() -> AsyncGenerator[bytes, None]:
        for _ in range(3):
            yield b"event"

    async def serve() -> None:
        with streams.opened("") as stream:
            taken = events()
            while await stream.next(taken) is not None:
                stream.end_if_unread()
                await asyncio.sleep(0)

    await asyncio.create_task(serve())


async def test_a_task_is_not_cancelled_after_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may serve another request by then."""
    monkeypatch.setattr(module, "SENDING_SECONDS", 0.0)
    streams = Streams()

    async def serve() -> None:
        with streams.opened(""):
            streams.close()
        await asyncio.sleep(0.01)

    await asyncio.create_task(serve())


async def test_a_stream_may_end_by_itself() -> None:
    """None says so."""

    async def one() -> AsyncGenerator[bytes, None]:
        yield b"only"

    events = one()
    stream = OpenStream()
    assert [await stream.next(events), await stream.next(events)] == [b"only", None]


def test_the_default_limits_are_those_of_the_settings() -> None:
    """A server without settings, as in tests, has the same limits."""
    fields = Settings.model_fields
    assert fields["max_watches"].default == DEFAULT_MAX_STREAMS
    assert fields["watches_per_caller"].default == DEFAULT_STREAMS_PER_CALLER
