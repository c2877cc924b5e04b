"""Which waiting caller gets the next slot of a database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DatabaseUnavailableError, OverloadedError
from core.runtime.metrics import METRICS, Metric
from core.storage import shares
from core.storage.shares import Cost, Shares

CHEAP, EXPENSIVE, BUILD = Cost.CHEAP, Cost.EXPENSIVE, Cost.BUILD


class Callers:
    """Statements of several callers, which run until a test ends them."""

    def __init__(self, slots: int = 2, max_waiting: int = 100) -> None:
        self.shares = Shares(slots, max_waiting)
        self.running: list[tuple[str | None, Cost]] = []
        self.begun: list[str | None] = []
        """The callers in the order in which their statements began."""
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, caller: str | None, cost: Cost = CHEAP, times: int = 1) -> None:
        """Ask for slots, and return when all that can begin have begun."""
        self.tasks += [asyncio.create_task(self._begin(caller, cost)) for _ in range(times)]
        await settle()

    async def _begin(self, caller: str | None, cost: Cost) -> None:
        await self.shares.acquire(_path(caller), cost)
        self.running.append((caller, cost))
        self.begun.append(caller)

    async def end(self, number: int = 0) -> None:
        """End one of the running statements."""
        _, cost = self.running.pop(number)
        self.shares.release(cost)
        await settle()

    async def end_all(self) -> None:
        """End the statements one by one until none is left."""
        while self.running:
            await self.end()

    def errors(self) -> list[type[BaseException]]:
        """Return the errors of the statements that have failed."""
        return [type(error) for task in self.tasks if task.done() and (error := task.exception())]


def _path(caller: str | None) -> tuple[str, ...]:
    """Return the path of a caller that is written as address/user; None is the process itself."""
    return tuple(caller.split("/")) if caller else ()


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(6):
        await asyncio.sleep(0)


@pytest.fixture
def callers() -> Iterator[Callers]:
    """Return callers of a database with two slots, of which expensive statements may use one."""
    callers = Callers()
    yield callers
    for task in callers.tasks:
        task.cancel()


async def test_callers_take_turns(callers: Callers) -> None:
    """A caller with many statements delays the others by one each."""
    await callers.ask("greedy", times=6)
    await callers.ask("second")
    await callers.ask("third")
    await callers.end_all()
    assert callers.begun == ["greedy", "greedy", "greedy", "second", "third", *["greedy"] * 3]


async def test_the_users_of_an_address_share_its_turns(callers: Callers) -> None:
    """Anybody can create users, so a thousand of them are worth no more turns than one."""
    await callers.ask("somewhere/running", times=2)
    for user in ("one", "two", "two", "three"):
        await callers.ask(f"crowd/{user}")
    await callers.ask("elsewhere/four", times=2)
    await callers.end_all()
    assert callers.begun[2:] == [
        "crowd/one",
        "elsewhere/four",
        "crowd/two",
        "elsewhere/four",
        "crowd/three",
        "crowd/two",
    ]


async def test_the_work_of_the_process_comes_first(callers: Callers) -> None:
    """A group commit carries the tweets of all callers, so it does not wait behind any of them."""
    await callers.ask("greedy", times=4)
    await callers.ask(None)
    await callers.end()
    assert callers.begun[-1] is None


async def test_cheap_statements_have_slots_of_their_own(callers: Callers) -> None:
    """However many callers send expensive statements, a cheap one begins at once."""
    for number in range(20):
        await callers.ask(f"caller {number}", EXPENSIVE)
    assert callers.running == [("caller 0", EXPENSIVE)]
    await callers.ask("other")
    assert callers.running[-1] == ("other", CHEAP)


async def test_expensive_statements_get_their_share(callers: Callers) -> None:
    """Cheap statements without end cannot keep them from it."""
    await callers.ask("cheap", times=10)
    await callers.ask("expensive", EXPENSIVE, times=2)
    await callers.end()
    assert callers.begun[-1] == "expensive"
    await callers.end()
    assert callers.begun[-1] == "cheap"


async def test_builds_come_before_other_expensive_statements() -> None:
    """However many wait, a build begins when the next of them ends; one slot is left to them."""
    callers = Callers(slots=9)
    await callers.ask("page", EXPENSIVE, times=6)
    await callers.ask("build", BUILD, times=4)
    assert callers.running == [("page", EXPENSIVE)] * 3
    for _ in range(3):
        await callers.end()
    assert Counter(callers.running) == {("build", BUILD): 2, ("page", EXPENSIVE): 1}


async def test_only_the_caller_with_the_most_waiting_is_refused() -> None:
    """A caller who fills the queue loses places to others, and alone may use it all."""
    callers = Callers(slots=1, max_waiting=5)
    await callers.ask("greedy", times=6)
    assert callers.errors() == []
    METRICS.take()
    await callers.ask("greedy")
    assert callers.errors() == [OverloadedError]
    assert METRICS.take() == {Metric.POSTGRES_OVERLOADED: 1}
    for number in range(3):
        await callers.ask(f"caller {number}")
    assert callers.errors() == [OverloadedError] * 4
    await callers.end_all()
    assert Counter(callers.begun) == {"greedy": 3, "caller 0": 1, "caller 1": 1, "caller 2": 1}


async def test_a_cancelled_caller_gives_its_place_up(callers: Callers) -> None:
    """This holds while it waits, and when it was served just before."""
    await callers.ask("one", times=2)
    await callers.ask("two", times=2)
    callers.tasks[2].cancel()
    await settle()
    callers.shares.release(CHEAP)
    callers.tasks[3].cancel()
    await settle()
    await callers.ask("three")
    assert callers.begun == ["one", "one", "three"]


async def test_a_standstill_is_no_overload(
    callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no statement ends, the database is to blame; if they do, the number of callers is."""
    monkeypatch.setattr(shares, "STANDSTILL_SECONDS", 0.2)
    monkeypatch.setattr(shares, "MAX_WAIT_SECONDS", 0)
    await callers.ask("one", EXPENSIVE)
    await callers.ask("one", CHEAP)
    with pytest.raises(DatabaseUnavailableError):
        await callers.shares.acquire(("two",), EXPENSIVE)
    await callers.ask("two", EXPENSIVE)
    await callers.end(1)
    with pytest.raises(OverloadedError):
        await callers.tasks[-1]


async def test_those_who_wait_are_told_that_postgres_is_gone(callers: Callers) -> None:
    """They need not find out one after another."""
    await callers.ask("one", times=3)
    await callers.ask("two", EXPENSIVE)
    callers.shares.refuse_waiting(DatabaseUnavailableError)
    await settle()
    assert callers.errors() == [DatabaseUnavailableError] * 2
    await callers.end_all()
    await callers.ask("three")
    assert callers.begun[-1] == "three"


Action = tuple[str, int, int]
NAMES = st.sampled_from(["ask", "ask", "ask", "end", "cancel"])
ACTIONS = st.lists(st.tuples(NAMES, st.integers(0, 3), st.integers(0, 9)), max_size=90)


@settings(max_examples=200, derandomize=True)
@given(actions=ACTIONS)
async def test_every_slot_is_used_and_no_caller_waits_for_more_than_its_turn(
    actions: Sequence[Action],
) -> None:
    """No slot stays free while somebody may use it, none is used twice, and turns go round."""
    callers = Callers(slots=9, max_waiting=8)
    for action, caller, number in actions:
        if action == "ask":
            cost = (CHEAP, EXPENSIVE, CHEAP, BUILD)[number % 4]
            await callers.ask(f"{caller % 2}/{caller}", cost)
        elif action == "end" and callers.running:
            await callers.end(number % len(callers.running))
        elif action == "cancel" and callers.tasks:
            callers.tasks[number % len(callers.tasks)].cancel()
            await settle()
        builds = sum(cost is BUILD for _, cost in callers.running)
        expensive = builds + sum(cost is EXPENSIVE for _, cost in callers.running)
        waiting = {cost: queue.count for cost, queue in callers.shares._waiting.items()}
        assert len(callers.running) <= 9
        assert expensive <= 3
        assert builds <= 2
        assert sum(waiting.values()) <= 8
        assert len(callers.running) == 9 or not waiting[CHEAP]
        assert len(callers.running) == 9 or expensive == 3 or not waiting[EXPENSIVE]
        assert len(callers.running) == 9 or expensive == 3 or builds == 2 or not waiting[BUILD]
    for task in callers.tasks:
        task.cancel()
    await settle()
    while callers.running:
        await callers.end()
    ended = callers.shares
    assert ended._used == ended._expensive_used == ended._builds == 0
    assert not any(queue.count for queue in ended._waiting.values())
