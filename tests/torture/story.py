"""Stories: random commands and faults on the real system, and then every timeline is exact.

Hypothesis draws them and shrinks one that fails to a short list of steps. Each has users of its
own, so stories do not depend on one another although they share the system.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.grpc_client import reason
from helpers.leaks import SECRET
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from psycopg import connect
from torture.calls import CALL, Calls
from torture.faults import CHEAP, DEAR, Faults
from torture.oracle import compare, timelines
from torture.restore_faults import LOSSY
from torture.world import Cast, World

# How long the readers are held up, of which a third to come to where they wait.
STALL_SECONDS = 0.15
MAX_USERS = 7

PLACES = st.integers(0, 63)
# Batches that outgrow a window (70), a list's cap and slack (300); most tweets come alone.
COUNTS = st.sampled_from((1, 1, 1, 1, 3, 10, 30, 70, 300))
LIMITS = st.sampled_from((20, 1, 3, 7, 25, 100))
COMMANDS = st.lists(
    st.tuples(
        st.sampled_from(("tweet", "update", "delete", "follow", "unfollow", "read", "read")),
        PLACES,
        PLACES,
    ),
    min_size=1,
    max_size=10,
)
# How many dear faults a story may have.
BUDGETS = st.sampled_from((0, 0, 1, 1, 2, 3))
CHECKS = st.sampled_from((0, 0, 0, 1))


@dataclass(frozen=True)
class Done:
    """The last command, while nothing was done after it: whose tweets it touched, and its token.

    A read with the token shows what came before the command for sure, and what came later perhaps.
    """

    author: int
    tweet: int | None
    token: str
    created: bool = False
    """Whether the command made the tweet."""


class Story(RuleBasedStateMachine):
    """One story: about thirty steps, and the comparison at its end."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._cast = Cast()
        self._calls = Calls(world, self._cast)
        self._done: Done | None = None
        self._faults = Faults(world, self._cast)
        self._dear = self._checks = 0
        world.ready()

    @initialize(users=st.integers(2, 5), followed=st.integers(0, 2), dear=BUDGETS, checks=CHECKS)
    def begin(self, users: int, followed: int, dear: int, checks: int) -> None:
        """Let the users appear, the first of them followed by all."""
        self._dear, self._checks = dear, checks
        self._cast.users += self._world.new_users(users)
        # Before anything can have been cached of these users, so no events are needed.
        self._world.clients.sql(
            "INSERT INTO follows (follower_id, followed_id) SELECT follower, followed"
            " FROM unnest(%s::bigint[]) AS follower, unnest(%s::bigint[]) AS followed"
            " WHERE follower <> followed",
            self._cast.users,
            self._cast.users[:followed],
        )
        self._faults.copy_redis(0)  # for a fail-over to it

    # Commands --------------------------------------------------------------------------------

    @rule(author=PLACES, count=COUNTS)
    def tweet(self, author: int, count: int) -> None:
        """Create a tweet, or a batch of them."""
        user = self._cast.user(author)
        if count == 1:
            self._tweet(user, retried=False)
        else:
            batch = w.BatchCreateTweetsRequest(
                requests=[
                    w.CreateTweetRequest(user_id=user, content=f"{n} of {count}")
                    for n in range(count)
                ]
            )
            answer = self._calls.command("BatchCreateTweets", batch)
            self._done = None
            if answer is not None:
                self._calls.created([result.tweet for result in answer.results])
                self._done = Done(user, None, answer.consistency_token)
        self._count("tweet" if count == 1 else "batch of tweets")

    @rule(author=PLACES)
    def tweet_twice(self, author: int) -> None:
        """Create a tweet with a request_id, and retry."""
        self._tweet(self._cast.user(author), retried=True)
        self._count("tweet retried")

    @precondition(lambda self: self._cast.tweets)
    @rule(which=PLACES, content=st.sampled_from(("a", "b", "c")))
    def update(self, which: int, content: str) -> None:
        """Change a tweet."""
        tweet = self._cast.tweets[which % len(self._cast.tweets)]
        request = w.UpdateTweetRequest(tweet_id=tweet, content=content)
        answer = self._calls.command("UpdateTweet", request)
        self._done = Done(answer.tweet.user_id, tweet, answer.consistency_token) if answer else None
        self._count("update")

    @precondition(lambda self: self._cast.tweets)
    @rule(which=PLACES)
    def delete(self, which: int) -> None:
        """Delete a tweet."""
        tweet = self._cast.tweets.pop(which % len(self._cast.tweets))
        author = self._world.clients.sql("SELECT user_id FROM tweets WHERE id = %s", tweet)
        request = w.DeleteTweetRequest(tweet_id=tweet)
        answer = self._calls.command("DeleteTweet", request)
        self._done = Done(author[0][0], tweet, answer.consistency_token) if answer else None
        self._count("delete")

    @rule(follower=PLACES, followed=PLACES)
    def follow(self, follower: int, followed: int) -> None:
        """Make one user follow another."""
        self._edge("FollowUser", w.FollowUserRequest, follower, followed)
        self._count("follow")

    @rule(follower=PLACES, followed=PLACES)
    def unfollow(self, follower: int, followed: int) -> None:
        """End a follow."""
        self._edge("UnfollowUser", w.UnfollowUserRequest, follower, followed)
        self._count("unfollow")

    @precondition(lambda self: 0 < len(self._cast.users) < MAX_USERS)
    @rule()
    def create_user(self) -> None:
        """Let one more user appear, by the contract."""
        name = f"t_{uuid.uuid4().hex[:20]}"
        request = w.CreateUserRequest(username=name, email=f"{name}@example.com", password=SECRET)
        answer = self._calls.command("CreateUser", request)
        self._cast.users.append(answer.user.id)
        self._count("create user")

    @precondition(lambda self: len(self._cast.users) > 2)
    @rule(which=PLACES)
    def delete_user(self, which: int) -> None:
        """Delete a user, with tweets and follows."""
        user = self._cast.user(which)
        if user in self._cast.stars:
            return
        request = w.DeleteUserRequest(user_id=user)
        answer = self._calls.command("DeleteUser", request)
        self._cast.users.remove(user)
        self._cast.deleted.append(user)
        self._done = Done(user, None, answer.consistency_token) if answer else None
        self._count("delete user")

    # Reads -----------------------------------------------------------------------------------

    @rule(reader=PLACES, limit=LIMITS)
    def read(self, reader: int, limit: int) -> None:
        """Read two pages; however far behind, they are in order and without duplicates."""
        token, last = "", None
        for _ in range(2):
            page = self._calls.timeline(self._cast.user(reader), limit, token)
            ids = [tweet.id for tweet in page.tweets]
            assert ids == sorted(set(ids), reverse=True), f"out of order: {ids}"
            assert last is None or not ids or ids[0] < last, f"{ids} after {last}"
            token, last = page.next_page_token, ids[-1] if ids else last
            if not token:
                break
        self._count("read")

    @precondition(lambda self: self._done)
    @rule(reader=PLACES, limit=LIMITS)
    def read_what_was_done(self, reader: int, limit: int) -> None:
        """Read with the last command's token: its effect shows, or nothing stale is said."""
        assert self._done is not None
        user = self._cast.user(reader)
        request = r.GetHomeTimelineRequest(
            user_id=user, limit=limit, consistency_token=self._done.token
        )
        try:
            page = self._world.read.GetHomeTimeline(request, **CALL)
            self._check_author(user, page)
            self._check_tweet(self._done)
            self._count("read with token")
        except grpc.RpcError as error:
            told = reason(error)
            # A restart, or an operator who recovers, may leave a token in doubt.
            if told == "CONSISTENCY_TOKEN_LOST" and self._calls.is_in_doubt(self._done.token):
                self._count("read with doubtful token refused")
            elif told == "NOT_YET_CONSISTENT":
                self._count("read with token refused")
            else:
                raise

    @rule(commands=COMMANDS)
    def at_once(self, commands: Sequence[tuple[str, int, int]]) -> None:
        """Send commands and reads without waiting for one another."""
        self._calls.finish([self._calls.send(*command) for command in commands])
        self._done = None  # the last command's token says nothing of these

    @rule(commands=COMMANDS, reader=PLACES)
    def overtake(self, commands: Sequence[tuple[str, int, int]], reader: int) -> None:
        """Let a reader build a list and bodies from a slow Postgres while events go past it."""
        world, user = self._world, self._cast.user(reader)
        hold = world.worker.running and not world.worker_stopped
        if not world.redis_up:
            return
        if hold:
            world.stop_worker()
        self._calls.finish([self._calls.send(*command) for command in commands])
        self._done = None  # as for those sent at once
        self._faults.happen("drop_list", 4 * reader)
        for which in range(3):
            self._faults.happen("drop_body", -1 - which)
        with connect(world.system.settings.primary_dsn()) as stalled:
            stalled.execute("LOCK TABLE tweets IN ACCESS EXCLUSIVE MODE")
            reads = [self._calls.send_read(user) for _ in range(2)]
            time.sleep(STALL_SECONDS / 3)  # the readers come to where they wait
            if hold:
                world.continue_worker()
            time.sleep(STALL_SECONDS)  # and the worker overtakes them
        self._calls.finish(reads)
        self._count("readers overtaken")

    # Faults ----------------------------------------------------------------------------------

    @precondition(lambda self: self._cast.users)
    @rule(fault=st.sampled_from(CHEAP), which=PLACES)
    def fault(self, fault: str, which: int) -> None:
        """Let something go wrong that costs no time."""
        self._faults.happen(fault, which)
        if fault == "poison_event":
            # It wrote a tweet of which the last command's token says nothing.
            self._done = None

    @precondition(lambda self: self._dear > 0)
    @rule(fault=st.sampled_from(DEAR), which=PLACES)
    def dear_fault(self, fault: str, which: int) -> None:
        """Let something go wrong that takes its time."""
        self._dear -= 1
        self._faults.happen(fault, which)
        if fault in LOSSY:
            self._check_lost()

    @precondition(lambda self: self._dear > 1 and not self._cast.stars)
    @rule()
    def star(self) -> None:
        """Let a user appear whom a crowd follows."""
        self._dear -= 1
        (star,) = self._world.new_users(1)
        first, last = self._world.crowd()
        self._world.clients.sql(
            "INSERT INTO follows (follower_id, followed_id)"
            " SELECT id, %s FROM users WHERE id BETWEEN %s AND %s",
            star,
            first,
            last,
        )
        self._cast.users.append(star)
        self._cast.stars.add(star)
        self._world.figures.faults["star"] += 1

    # The comparison --------------------------------------------------------------------------

    @precondition(lambda self: self._checks > 0)
    @rule()
    def check(self) -> None:
        """Put everything in order and compare, in the middle of the story."""
        self._checks -= 1
        self._compare()

    def teardown(self) -> None:
        """Put everything in order and compare; after a failure only the former."""
        failed = sys.exc_info()[0]
        self._world.figures.stories += 1
        if failed is not None:
            self._world.give_up()
            return
        try:
            self._compare()
        except BaseException:
            self._world.give_up()
            raise

    def _compare(self) -> None:
        # Copies that were kept are used at the latest now.
        if self._faults.use_copies():
            self._check_lost()
        self._world.repair()
        self._faults.happen("restore_redis_files", 0)
        self._world.settle()
        if self._cast.users:
            compare(self._world, self._cast)

    # Parts of the above ----------------------------------------------------------------------

    def _tweet(self, user: int, *, retried: bool) -> None:
        request_id = str(uuid.uuid4())
        request = w.CreateTweetRequest(user_id=user, content="hello", request_id=request_id)
        answer = self._calls.command("CreateTweet", request)
        if answer is None:
            self._done = None
            return
        if retried:
            again = self._calls.command("CreateTweet", request)
            assert again is None or again.tweet.id == answer.tweet.id, "a retry made another tweet"
        self._calls.created([answer.tweet])
        self._done = Done(user, answer.tweet.id, answer.consistency_token, created=True)

    def _edge(self, method: str, request: type[Any], follower: int, followed: int) -> None:
        first, second = self._cast.user(follower), self._cast.user(followed)
        if first == second:
            return
        edge = request(follower_id=first, followed_id=second)
        answer = self._calls.command(method, edge)
        self._done = Done(second, None, answer.consistency_token) if answer else None

    def _check_author(self, reader: int, page: r.GetHomeTimelineResponse) -> None:
        """Check that of the last command's author the page shows what is there."""
        assert self._done is not None
        author = self._done.author
        floor = page.tweets[-1].id if page.next_page_token else 0
        right = [
            (row[0], row[2])
            for row in timelines(self._world, [reader])[reader]
            if row[1] == author and row[0] >= floor
        ]
        read = [(tweet.id, tweet.content) for tweet in page.tweets if tweet.user_id == author]
        assert read == right, f"with a token {reader} sees of {author} {read} instead of {right}"

    def _check_tweet(self, done: Done) -> None:
        if done.tweet is None:
            return
        rows = self._world.clients.sql("SELECT content FROM tweets WHERE id = %s", done.tweet)
        request = r.GetTweetRequest(tweet_id=done.tweet, consistency_token=done.token)
        try:
            read = [(self._world.read.GetTweet(request, **CALL).tweet.content,)]
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
            read = []
        assert read == rows, f"with a token tweet {done.tweet} is {read} instead of {rows}"

    def _check_lost(self) -> None:
        """Check that no read believes the token of a tweet that a restore has lost."""
        done, self._done = self._done, None
        if done is None or not done.created:
            return
        if self._world.clients.sql("SELECT 1 FROM tweets WHERE id = %s", done.tweet):
            return
        request = r.GetTweetRequest(tweet_id=done.tweet or 0, consistency_token=done.token)
        try:
            self._world.read.GetTweet(request, **CALL)
        except grpc.RpcError as error:
            told = error.code(), reason(error)
            refused = {"CONSISTENCY_TOKEN_LOST", "NOT_YET_CONSISTENT"}
            if told[1] in refused or told[0] == grpc.StatusCode.UNAVAILABLE:
                self._count("read with lost token refused")
                return
            raise AssertionError(
                f"the token of a tweet that was lost is answered: {told}"
            ) from None
        raise AssertionError("a tweet that was lost is shown for its token")

    def _count(self, operation: str) -> None:
        self._world.figures.operations[operation] += 1
