"""A restore drill: traffic, a restore in the middle of it, and a check of all answers."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import pytest
from fanfare.read.v1 import read_pb2 as r
from helpers.expected_answers import Question, Questions
from helpers.fanfare import Fanfare
from helpers.grpc_client import reason
from helpers.kafka_topic import wrong_events
from helpers.traffic import Deed, Traffic
from helpers.waiting import wait_until

from ops.system import System

USERS = 10
TWEETS = 60
# Commands in each part of a drill: before the copy, between copy and restore, and after it.
COMMANDS = 40
# How long answers may stay wrong; seconds on an idle machine.
HEAL_SECONDS = 120.0
# How many commands of each kind have their tokens tried.
TOKENS = 3
TOKEN_LOST = "CONSISTENCY_TOKEN_LOST"


@dataclass
class Outcome:
    """The result of a drill; a line of the table that is printed."""

    name: str
    lost: int = 0
    answers: int = 0
    wrong_at_first: int = 0
    wrong_at_last: int = 0
    seconds: float | None = None
    """From the end of the restore until all answers were right; None if they never were."""
    faults: list[str] = field(default_factory=list)


class Drill:
    """A system with users and traffic, in which a scenario restores servers."""

    def __init__(self, system: System, outcome: Outcome, folder: Path, seed: int) -> None:
        self.system = system
        self.folder = folder
        self.outcome = outcome
        self.clients = Fanfare(system)
        self.traffic = Traffic(self.clients, seed)
        self.event_ids_may_repeat = False
        self.replica_has_what_is_lost = False
        self._worker_paused = False
        self._lost: list[Deed] = []
        self._killed_at = self._up_at = time.monotonic()
        # When the oldest copy of Postgres began; it has every command acknowledged before that.
        self._copied_at: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Create users and tweets, and run traffic."""
        self.traffic.begin(USERS, TWEETS)
        self._read_everything()
        with self.traffic.running():
            self.traffic.wait_for_more(COMMANDS)
            yield

    def note_copy(self) -> None:
        """Note that a copy of Postgres begins now."""
        self._copied_at = time.monotonic()

    def note_total_loss(self) -> None:
        """Note that the restore leaves nothing in Postgres."""
        self._copied_at = 0.0

    def write_what_is_lost(self) -> None:
        """Run commands that the restore will lose, and get their effects into all caches."""
        self.traffic.wait_for_more(COMMANDS)
        for _ in range(3):  # lost users, whose timelines are cached
            self.traffic.command("user")
        # As if other relays had taken over.
        self.clients.sql("UPDATE relay_state SET epoch = epoch + 5")
        self.traffic.wait_for_more(COMMANDS)
        self._read_everything()
        self._wait_applied()
        self._read_everything()
        self.traffic.wait_for_more(COMMANDS // 4)

    def pause_worker(self) -> None:
        """Pause the worker until the end of the restore, so that Kafka has unread records."""
        os.kill(self.system.processes["worker"].pid, signal.SIGSTOP)
        self._worker_paused = True
        self.traffic.wait_for_more(COMMANDS)
        self.clients.wait_sent()

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Find out which commands the restore in the body of the `with` statement loses."""
        self.traffic.only_tweets.set()
        # After two more, no command that began before only_tweets was set is still running.
        self.traffic.wait_for_more(2)
        self._killed_at = time.monotonic()
        yield
        self._up_at = time.monotonic()
        self.clients.reopen_feed()
        if self._worker_paused:
            os.kill(self.system.processes["worker"].pid, signal.SIGCONT)
            self._worker_paused = False
        now = self.traffic.in_database()
        # Commands that were acknowledged during the restore may be there or lost.
        self._lost = [
            deed
            for deed in list(self.traffic.deeds)
            if deed.acknowledged_at < self._up_at
            and not self.traffic.done(deed, now.get(deed.thing))
        ]
        self.outcome.lost = len(self._lost)
        self._try_tokens("at once", self._sample(self._lost), lost=True)
        self.traffic.forget(thing for thing, state in now.items() if state is None)
        while len(self.traffic.users) < USERS // 2:
            self.traffic.command("user")
        self.traffic.only_tweets.clear()

    def write_after(self) -> None:
        """Run commands after the restore, and try their tokens."""
        since = len(self.traffic.deeds)
        self.traffic.wait_for_more(2 * COMMANDS)
        new = self._sample(self.traffic.deeds[since:])
        self._try_tokens("after", new, lost=False)

    def close(self) -> None:
        """Close the clients."""
        self.clients.close()

    # The judgement ----------------------------------------------------------------------------

    def judge(self) -> None:
        """Check everything, after the traffic has ended; fail the test with all faults found."""
        found = self.outcome.faults
        found += [f"{times} times {told}" for told, times in self.traffic.surprises.items()]
        self._judge_loss()
        self._repeat_users()
        questions = self._questions()
        self._wait_right(questions)
        self._try_tokens("at the end", self._sample(self._lost), lost=True)
        lost = set(self._lost)
        kept = [deed for deed in self.traffic.deeds if deed not in lost]
        before = [deed for deed in kept if deed.acknowledged_at < self._killed_at]
        self._try_tokens("at the end", self._sample(before), lost=False, may_be_refused=True)
        after = [deed for deed in kept if deed.acknowledged_at > self._up_at]
        self._try_tokens("at the end", self._sample(after), lost=False)
        found += wrong_events(self.clients.settings, ids_may_repeat=self.event_ids_may_repeat)
        if found:
            told = Counter(found)
            lines = [
                f"{line} ({times} times)" if times > 1 else line for line, times in told.items()
            ]
            pytest.fail("\n".join(lines), pytrace=False)

    def _judge_loss(self) -> None:
        """Check that no command from before the copy or after the restore is lost."""
        now = self.traffic.in_database()
        since = self._up_at if self._copied_at is None else self._copied_at
        early = [deed for deed in self._lost if deed.acknowledged_at < since]
        late = [
            deed
            for deed in self.traffic.deeds
            if deed.acknowledged_at > self._up_at
            and not self.traffic.done(deed, now.get(deed.thing))
        ]
        lost = Counter(deed.kind for deed in (*early, *late))
        self.outcome.faults += [f"acknowledged but lost: {kind}" for kind in lost.elements()]
        if self._copied_at is not None and not self._lost:
            self.outcome.faults.append("nothing was lost: the drill proves nothing")

    def _repeat_users(self) -> None:
        """Create users with the ids of lost ones, as the sequence may do after a restore."""
        users = [thing[1] for thing in self.traffic.known("user")]
        lost = set(users) - {row[0] for row in self.clients.sql("SELECT id FROM users")}
        for user in sorted(lost)[:2]:
            query = "INSERT INTO users (id, username, bio) VALUES (%s, 'again_' || %s, 'again')"
            self.clients.sql(query, user, time.monotonic_ns())
        # Move the sequence past these ids. Otherwise a later CreateUser would fail.
        self.clients.sql("SELECT setval('users_id_seq', (SELECT max(id) FROM users) + 1)")

    def _questions(self) -> Questions:
        known = self.traffic.known
        return Questions(
            self.clients,
            [thing[1] for thing in known("user")],
            self.traffic.names,
            [thing[1] for thing in known("tweet")],
            [(thing[1], thing[2]) for thing in known("edge")],
        )

    def _wait_right(self, questions: Questions) -> None:
        """Ask until all answers are right, then ask everything once more."""
        deadline = time.monotonic() + HEAL_SECONDS
        wrong: dict[Question, str] = questions.differences()
        self.outcome.answers = len(questions.all)
        self.outcome.wrong_at_first = len(wrong)
        while time.monotonic() < deadline:
            while wrong and time.monotonic() < deadline:
                time.sleep(0.05)  # else the questions take the CPU that the repair needs
                wrong = questions.differences(list(wrong))
            right_at = time.monotonic()
            if not wrong and self._drained(deadline):
                # All events are applied; now the caches must be right.
                wrong = questions.differences()
                if not wrong:
                    self.outcome.seconds = right_at - self._up_at
                    return
        self.outcome.wrong_at_last = len(wrong)
        if not wrong:
            self.outcome.faults.append("the feed did not drain")
        self.outcome.faults += [f"wrong: {told}" for told in list(wrong.values())[:10]]
        if len(wrong) > 10:
            self.outcome.faults.append(f"{len(wrong)} of {len(questions.all)} answers are wrong")

    def _drained(self, deadline: float) -> bool:
        try:
            seconds = max(1.0, deadline - time.monotonic())
            wait_until(self.clients.is_drained, "the feed is drained", seconds)
        except AssertionError:
            return False
        return True

    def _try_tokens(
        self, when: str, deeds: Sequence[Deed], *, lost: bool, may_be_refused: bool = False
    ) -> None:
        """Read with the tokens of commands; note each answer that the token does not allow."""
        with ThreadPoolExecutor(8) as pool:
            one = partial(self._try_token, when=when, lost=lost, may_be_refused=may_be_refused)
            for deed, told in zip(deeds, pool.map(one, deeds), strict=True):
                # A process may not have noticed the restore yet, and refuse for another reason.
                unsure = when == "at once" and told is not None and "UNAVAILABLE" in told
                if told is not None and not unsure:
                    kind = "lost" if lost else "kept"
                    self.outcome.faults.append(f"token of a {kind} {deed.kind} {when}: {told}")

    def _try_token(self, deed: Deed, when: str, *, lost: bool, may_be_refused: bool) -> str | None:
        try:
            state = self.traffic.read(deed)
        except grpc.RpcError as error:
            if reason(error) == TOKEN_LOST and (lost or may_be_refused):
                return None
            return f"refused: {error.code().name}, {reason(error)}"
        shown = self.traffic.done(deed, state)
        if lost and not (shown and self.replica_has_what_is_lost and when == "at once"):
            return f"answered {state}"
        return None if shown else f"answered {state}"

    def _sample(self, deeds: Sequence[Deed]) -> list[Deed]:
        """Return the last few commands of each kind."""
        kinds: dict[str, list[Deed]] = defaultdict(list)
        for deed in deeds:
            kinds[deed.kind].append(deed)
        return [deed for some in kinds.values() for deed in some[-TOKENS:]]

    # Parts of the above -----------------------------------------------------------------------

    def _read_everything(self) -> None:
        """Read every timeline and every tweet, so that they are cached."""
        for user in list(self.traffic.users):
            self.clients.read.GetHomeTimeline(r.GetHomeTimelineRequest(user_id=user, limit=100))
        tweets = [thing[1] for thing in self.traffic.known("tweet")]
        self.clients.read.BatchGetTweets(r.BatchGetTweetsRequest(tweet_ids=tweets[-1000:]))

    def _wait_applied(self) -> None:
        """Wait until all events that were written so far are applied."""
        clients = self.clients
        clients.wait_sent()
        ends = {partition.number: partition.end for partition in clients.feed.partitions()}

        def applied() -> bool:
            return all(
                partition.applied is not None and partition.applied >= ends[partition.number]
                for partition in clients.feed.partitions()
            )

        wait_until(applied, "the events so far are applied")
