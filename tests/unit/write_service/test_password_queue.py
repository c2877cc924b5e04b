"""The password queue: a caller who floods it makes nobody else wait or fail."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from core.errors import OverloadedError
from write_service.password_queue import Kind, PasswordQueue

SLOTS, MAX_WAITING = 2, 20
FLOOD = "flood"
Call = tuple[Kind, str]


class Work:
    """Callers of a password queue who keep their slot until the test ends their work."""

    def __init__(self, slots: int = SLOTS, max_waiting: int = MAX_WAITING) -> None:
        self.queue = PasswordQueue(slots, max_waiting)
        self.served: list[Call] = []
        self.ends: list[asyncio.Event] = []

    async def start(self, *calls: Call) -> list[asyncio.Task[None]]:
        """Start callers in this order."""
        tasks = [asyncio.ensure_future(self._call(call)) for call in calls]
        await asyncio.sleep(0)
        return tasks

    async def finish(self, tasks: list[asyncio.Task[None]]) -> list[BaseException | None]:
        """End one work after another until nobody waits; return how the calls ended."""
        done = 0
        while done < len(self.ends):
            self.ends[done].set()
            done += 1
            for _ in range(6):  # the turns of the event loop until the next caller has the slot
                await asyncio.sleep(0)
        async with asyncio.timeout(5):
            return await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, call: Call) -> None:
        kind, address = call
        async with self.queue.slot(kind, (address,)):
            self.served.append(call)
            end = asyncio.Event()
            self.ends.append(end)
            await end.wait()


async def test_a_sign_in_does_not_wait_behind_other_work() -> None:
    """All other work leaves a slot free."""
    work = Work()
    tasks = await work.start(
        *[(Kind.SIGN_UP, FLOOD)] * 8,
        *[(Kind.CHANGE, FLOOD)] * 8,
        *[(Kind.SIGN_IN, "else")] * 2,
    )
    assert work.served == [(Kind.SIGN_UP, FLOOD), (Kind.SIGN_IN, "else")]
    await work.finish(tasks)


async def test_kinds_take_turns() -> None:
    """And within a kind, the addresses do."""
    work = Work(slots=1)
    tasks = await work.start(
        (Kind.SIGN_IN, FLOOD),
        *[(Kind.SIGN_UP, FLOOD)] * 3,
        *[(Kind.CHANGE, FLOOD)] * 3,
        *[(Kind.SIGN_IN, FLOOD)] * 3,
        (Kind.SIGN_IN, "else"),
    )
    await work.finish(tasks)
    kinds = [kind for kind, _ in work.served[1:10]]
    assert [set(kinds[at : at + 3]) for at in (0, 3, 6)] == [set(Kind)] * 3
    assert work.served.index((Kind.SIGN_IN, "else")) <= 6


@given(
    flood=st.integers(1, 100),
    others=st.lists(st.sampled_from("abcdef"), max_size=MAX_WAITING // 2 - 1),
)
def test_only_the_flood_is_refused_and_only_the_flood_waits(flood: int, others: list[str]) -> None:
    """A caller with fewer calls waiting than the flood is served, in turns with it."""

    async def run() -> None:
        work = Work()
        calls = [(Kind.SIGN_IN, FLOOD)] * flood + [(Kind.SIGN_IN, name) for name in others]
        ends = await work.finish(await work.start(*calls))
        refused = [type(end) for end in ends if end is not None]
        assert refused == [OverloadedError] * max(0, len(calls) - SLOTS - MAX_WAITING)
        assert ends[flood:] == [None] * len(others)
        for name in set(others):
            names = [served for _, served in work.served[SLOTS:] if served in {name, FLOOD}]
            last = max((n for n, served in enumerate(names) if served == name), default=0)
            # Between two turns of a name, the flood has one.
            assert names[:last].count(FLOOD) <= others.count(name)

    asyncio.run(run())


async def test_equals_do_not_push_each_other_out() -> None:
    """If every address has one call waiting, the newcomer is refused."""
    work = Work()
    calls = [(Kind.SIGN_IN, str(number)) for number in range(SLOTS + MAX_WAITING + 1)]
    ends = await work.finish(await work.start(*calls))
    assert [type(end) for end in ends] == [type(None)] * (SLOTS + MAX_WAITING) + [OverloadedError]


@given(st.lists(st.tuples(st.sampled_from(Kind), st.sampled_from("xyz"), st.booleans())))
def test_no_slot_is_lost(calls: list[tuple[Kind, str, bool]]) -> None:
    """A caller that is cancelled, waiting or served, leaves the others and the slots alone."""

    async def run() -> None:
        work = Work(max_waiting=1000)
        tasks = await work.start(*[(kind, address) for kind, address, _ in calls])
        for task, (_, _, is_cancelled) in zip(tasks, calls, strict=True):
            if is_cancelled:
                task.cancel()
        ends = await work.finish(tasks)
        assert [isinstance(end, asyncio.CancelledError) for end in ends] == [
            is_cancelled for _, _, is_cancelled in calls
        ]
        kept = Counter(call[:2] for call in calls if not call[2])
        assert Counter(work.served) >= kept
        work.served.clear()
        again = await work.start(*[(Kind.SIGN_IN, "x")] * (SLOTS + 1))
        assert len(work.served) == SLOTS
        await work.finish(again)

    asyncio.run(run())


async def test_a_slot_lent_to_a_cancelled_caller_goes_to_the_next() -> None:
    """A caller who is cancelled in the moment of their turn passes the slot on."""
    for turns in range(6):
        work = Work(slots=1)
        first, second, third = await work.start(*[(Kind.SIGN_IN, name) for name in "abc"])
        work.ends[0].set()
        for _ in range(turns):
            await asyncio.sleep(0)
        second.cancel()
        ends = await work.finish([first, second, third])
        assert ends[0] is ends[2] is None
        assert isinstance(ends[1], asyncio.CancelledError)
        assert work.served[-1] == (Kind.SIGN_IN, "c")
