"""The barriers of a pipeline, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from core.storage.redis_pipeline import TRACK_NEXT_COMMAND, RedisPipeline

PING = b"*1\r\n$4\r\nPING\r\n"
PONG = b"+PONG\r\n"


class FakeTransport:
    """Holds what was written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_aborted = False

    def set_protocol(self, _protocol: asyncio.BaseProtocol) -> None:
        """Do nothing: tests call the protocol."""

    def write(self, data: bytes) -> None:
        """Keep the data."""
        self.written.append(data)

    def abort(self) -> None:
        """Note it."""
        self.is_aborted = True


class Subject:
    """A pipeline whose tracking is on, and the keys that were reported."""

    def __init__(self, timeout_seconds: float = 60.0) -> None:
        self.transport = FakeTransport()
        self.reported: list[Sequence[bytes] | None] = []
        transport = cast("asyncio.Transport", self.transport)
        self.pipeline = RedisPipeline(
            transport, timeout_seconds, self.reported.append, lambda _: None
        )

    async def start(self) -> Subject:
        """Let the command that enables tracking be sent and answered."""
        await asyncio.sleep(0)
        self.pipeline.data_received(b"+OK\r\n")
        self.transport.written.clear()
        return self

    async def barrier(self) -> list[Sequence[bytes] | None]:
        """Return what had been reported when the barrier let this call go on."""
        await self.pipeline.barrier()
        return list(self.reported)

    def begin(self) -> asyncio.Task[list[Sequence[bytes] | None]]:
        """Return a call that waits for a barrier."""
        return asyncio.ensure_future(self.barrier())


async def _turns() -> None:
    """Let the event loop run what is ready, and what becomes ready by it."""
    for _ in range(4):
        await asyncio.sleep(0)


async def test_calls_of_one_turn_share_a_ping() -> None:
    """One command is sent for all of them, and its reply lets all go on."""
    subject = await Subject().start()
    calls = [subject.begin() for _ in range(5)]
    await _turns()
    assert subject.transport.written == [PING]
    subject.pipeline.data_received(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n" + PONG)
    assert await asyncio.gather(*calls) == [[[b"k"]]] * 5


async def test_a_ping_that_was_sent_is_not_shared() -> None:
    """A later call waits for the next PING, which is sent when the reply to the first has come."""
    subject = await Subject().start()
    first = subject.begin()
    await _turns()
    later = [subject.begin() for _ in range(3)]
    await _turns()
    assert subject.transport.written == [PING]
    subject.pipeline.data_received(PONG)
    await first
    await _turns()
    assert subject.transport.written == [PING, PING]
    assert not any(call.done() for call in later)
    subject.pipeline.data_received(PONG)
    await asyncio.gather(*later)


async def test_other_commands_do_not_end_a_barrier() -> None:
    """A call that waits for the next PING is not let go by what is sent meanwhile."""
    subject = await Subject().start()
    first = subject.begin()
    await _turns()
    waiting = subject.begin()
    other = subject.pipeline.execute([TRACK_NEXT_COMMAND, ("GET", "k")], None)
    await _turns()
    subject.pipeline.data_received(PONG + b"+OK\r\n$1\r\nv\r\n")
    await first
    assert await other == [b"OK", b"v"]
    await _turns()
    assert not waiting.done()
    assert subject.transport.written[-1] == PING
    subject.pipeline.data_received(PONG)
    await waiting


async def test_a_cancelled_call_does_not_end_the_others() -> None:
    """The call is cancelled when the barrier ends."""
    subject = await Subject().start()
    cancelled, other = subject.begin(), subject.begin()
    await _turns()
    cancelled.cancel()
    await _turns()
    subject.pipeline.data_received(PONG)
    assert await other == []
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_an_error_is_a_reply_too() -> None:
    """Redis refuses PING when it cannot save its data, and everything else goes on."""
    subject = await Subject().start()
    call = subject.begin()
    await _turns()
    subject.pipeline.data_received(b"-MISCONF cannot save\r\n")
    assert await call == []


async def test_all_barriers_fail_with_the_connection() -> None:
    """This holds for the PING that was sent, for the next one, and for those that come later."""
    subject = await Subject().start()
    calls = [subject.begin()]
    await _turns()
    calls.append(subject.begin())
    await _turns()
    subject.pipeline.connection_lost(None)
    calls += [subject.begin(), subject.begin()]
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(failure) for failure in failures] == [RedisConnectionError] * 4
    assert subject.reported == [None]
    assert subject.transport.is_aborted


async def test_a_barrier_without_a_reply_fails_in_time() -> None:
    """A silent Redis ends the calls that wait for the PING, and those that wait for the next."""
    subject = await Subject(timeout_seconds=0.02).start()
    first = subject.begin()
    await _turns()
    failures = await asyncio.gather(first, subject.begin(), return_exceptions=True)
    assert [str(failure) for failure in failures] == ["Redis did not reply in time"] * 2
