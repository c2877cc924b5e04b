"""Stories: random commands and faults on the real system, after which every timeline is exact.

Hypothesis draws the stories, and shrinks one that fails to a short list of steps. Stories share a
system but not its users, so they do not depend on one another.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any

import grpc
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.grpc_client import reason
from helpers.leaks import SECRET
from helpers.watch_client import WatchClient
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from psycopg import connect
from torture.calls import CALL, Calls
from torture.faults import CHEAP, COSTLY, Faults
from torture.oracle import compare, compare_watched
from torture.restore_faults import LOSSY
from torture.tokens import LastCommand, check_author, check_tweet, refuses_lost
from torture.world import Cast, World

# How long the worker has to overtake readers who wait for Postgres. Before that, the readers have a
# third of this to get there.
STALL_SECONDS = 0.15
MAX_USERS = 7

INDEXES = st.integers(0, 63)
# Most tweets are created alone. A batch of 70 exceeds what a read takes from a list, a batch of 300
# what a list may hold.
COUNTS = st.sampled_from((1, 1, 1, 1, 3, 10, 30, 70, 300))
LIMITS = st.sampled_from((20, 1, 3, 7, 25, 100))
COMMANDS = st.lists(
    st.tuples(
        st.sampled_from(("tweet", "update", "delete", "follow", "unfollow", "read", "read")),
        INDEXES,
        INDEXES,
    ),
    min_size=1,
    max_size=10,
)
# How many costly faults a story may have.
BUDGETS = st.sampled_from((0, 0, 1, 1, 2, 3))
CHECKS = st.sampled_from((0, 0, 0, 1))


class Story(RuleBasedStateMachine):
    """One story: about thirty steps, and a comparison with SQL at its end."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._cast = Cast()
        self._calls = Calls(world, self._cast)
        self._last: LastCommand | None = None
        self._faults = Faults(world, self._cast)
        self._watchers: dict[int, WatchClient] = {}
        """Clients that watch the timelines of some users throughout the story."""
        self._costly = self._checks = 0
        world.ready()

    @initialize(users=st.integers(2, 5), followed=st.integers(0, 2), costly=BUDGETS, checks=CHECKS)
    def begin(self, users: int, followed: int, costly: int, checks: int) -> None:
        """Create the users; all of them follow the first `followed` of them."""
        self._costly, self._checks = costly, checks
        self._cast.users += self._world.new_users(users)
        # Nothing about these users is cached yet, so the follows need no events.
        self._world.clients.sql(
            "INSERT INTO follows (follower_id, followed_id) SELECT follower, followed"
            " FROM unnest(%s::bigint[]) AS follower, unnest(%s::bigint[]) AS followed"
            " WHERE follower <> followed",
            self._cast.users,
            self._cast.users[:followed],
        )
        self._watchers = {user: self._world.watch(user) for user in self._cast.users[:2]}
        self._faults.copy_redis(0)  # a later fault may fail over to the copy

    # Commands --------------------------------------------------------------------------------

    @rule(author=INDEXES, count=COUNTS)
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
            self._last = None
            if answer is not None:
                self._calls.created([result.tweet for result in answer.results])
                self._last = LastCommand(user, None, answer.consistency_token)
        self._count("tweet" if count == 1 else "batch of tweets")

    @rule(author=INDEXES)
    def tweet_twice(self, author: int) -> None:
        """Create a tweet with a request_id, and send the same request again."""
        self._tweet(self._cast.user(author), retried=True)
        self._count("tweet retried")

    @precondition(lambda self: self._cast.tweets)
    @rule(which=INDEXES, content=st.sampled_from(("a", "b", "c")))
    def update(self, which: int, content: str) -> None:
        """Change a tweet."""
        tweet = self._cast.tweets[which % len(self._cast.tweets)]
        request = w.UpdateTweetRequest(tweet_id=tweet, content=content)
        answer = self._calls.command("UpdateTweet", request)
        self._last = (
            LastCommand(answer.tweet.user_id, tweet, answer.consistency_token) if answer else None
        )
        self._count("update")

    @precondition(lambda self: self._cast.tweets)
    @rule(which=INDEXES)
    def delete(self, which: int) -> None:
        """Delete a tweet."""
        tweet = self._cast.tweets.pop(which % len(self._cast.tweets))
        author = self._world.clients.sql("SELECT user_id FROM tweets WHERE id = %s", tweet)
        request = w.DeleteTweetRequest(tweet_id=tweet)
        answer = self._calls.command("DeleteTweet", request)
        self._last = LastCommand(author[0][0], tweet, answer.consistency_token) if answer else None
        self._count("delete")

    @rule(follower=INDEXES, followed=INDEXES)
    def follow(self, follower: int, followed: int) -> None:
        """Make one user follow another."""
        self._edge("FollowUser", w.FollowUserRequest, follower, followed)
        self._count("follow")

    @rule(follower=INDEXES, followed=INDEXES)
    def unfollow(self, follower: int, followed: int) -> None:
        """End a follow."""
        self._edge("UnfollowUser", w.UnfollowUserRequest, follower, followed)
        self._count("unfollow")

    @precondition(lambda self: 0 < len(self._cast.users) < MAX_USERS)
    @rule()
    def create_user(self) -> None:
        """Create one more user over gRPC."""
        name = f"t_{uuid.uuid4().hex[:20]}"
        request = w.CreateUserRequest(username=name, email=f"{name}@example.com", password=SECRET)
        answer = self._calls.command("CreateUser", request)
        self._cast.users.append(answer.user.id)
        self._count("create user")

    @precondition(lambda self: len(self._cast.users) > 2)
    @rule(which=INDEXES)
    def delete_user(self, which: int) -> None:
        """Delete a user, and so their tweets and follows."""
        user = self._cast.user(which)
        if user in self._cast.stars:
            return
        request = w.DeleteUserRequest(user_id=user)
        answer = self._calls.command("DeleteUser", request)
        self._cast.users.remove(user)
        self._cast.deleted.append(user)
        self._last = LastCommand(user, None, answer.consistency_token) if answer else None
        self._count("delete user")

    # Reads -----------------------------------------------------------------------------------

    @rule(reader=INDEXES, limit=LIMITS)
    def read(self, reader: int, limit: int) -> None:
        """Read two pages; even before events are applied, they are in order, without duplicates."""
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

    @precondition(lambda self: self._last)
    @rule(reader=INDEXES, limit=LIMITS)
    def read_last_command(self, reader: int, limit: int) -> None:
        """Read with the last command's token: the read shows its effect or is refused."""
        assert self._last is not None
        user = self._cast.user(reader)
        request = r.GetHomeTimelineRequest(
            user_id=user, limit=limit, consistency_token=self._last.token
        )
        try:
            page = self._world.read.GetHomeTimeline(request, **CALL)
            check_author(self._world, self._last, user, page)
            check_tweet(self._world, self._last)
            self._count("read with token")
        except grpc.RpcError as error:
            why = reason(error)
            # After a restart or `fanfare recover` a token's history may have ended.
            if why == "CONSISTENCY_TOKEN_LOST" and self._calls.has_ended_history(self._last.token):
                self._count("read with token of an ended history refused")
            elif why == "NOT_YET_CONSISTENT":
                self._count("read with token refused")
            else:
                raise

    @rule(commands=COMMANDS)
    def at_once(self, commands: Sequence[tuple[str, int, int]]) -> None:
        """Send commands and reads without waiting for their answers in between."""
        self._calls.finish([self._calls.send(*command) for command in commands])
        self._last = None  # a read with an older token need not show these

    @rule(commands=COMMANDS, reader=INDEXES)
    def overtake(self, commands: Sequence[tuple[str, int, int]], reader: int) -> None:
        """Make readers fill the caches from a slow Postgres while newer events are applied."""
        world, user = self._world, self._cast.user(reader)
        stops_worker = world.worker.running and not world.worker_stopped
        if not world.redis_up:
            return
        if stops_worker:
            world.stop_worker()
        self._calls.finish([self._calls.send(*command) for command in commands])
        self._last = None  # as in at_once()
        self._faults.happen("drop_list", 4 * reader)
        for which in range(3):
            self._faults.happen("drop_cached_tweet", -1 - which)
        with connect(world.system.settings.primary_dsn()) as stalled:
            stalled.execute("LOCK TABLE tweets IN ACCESS EXCLUSIVE MODE")
            reads = [self._calls.send_read(user) for _ in range(2)]
            time.sleep(STALL_SECONDS / 3)  # until the readers wait for the lock
            if stops_worker:
                world.continue_worker()
            time.sleep(STALL_SECONDS)  # until the worker has applied the events
        self._calls.finish(reads)
        self._count("readers overtaken")

    # Faults ----------------------------------------------------------------------------------

    @precondition(lambda self: self._cast.users)
    @rule(fault=st.sampled_from(CHEAP), which=INDEXES)
    def fault(self, fault: str, which: int) -> None:
        """Make a fault happen that takes little time."""
        self._faults.happen(fault, which)
        if fault == "poison_event":
            # It wrote a tweet, which a read with the last command's token need not show.
            self._last = None

    @precondition(lambda self: self._costly > 0)
    @rule(fault=st.sampled_from(COSTLY), which=INDEXES)
    def costly_fault(self, fault: str, which: int) -> None:
        """Make a fault happen that takes seconds, as long as the budget lasts."""
        self._costly -= 1
        self._faults.happen(fault, which)
        if fault in LOSSY:
            self._check_lost()

    @precondition(lambda self: self._costly > 1 and not self._cast.stars)
    @rule()
    def star(self) -> None:
        """Create a star: a user whom the crowd follows."""
        self._costly -= 1
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
        """Repair everything and compare with SQL, in the middle of the story."""
        self._checks -= 1
        self._compare()

    def teardown(self) -> None:
        """Repair everything, and compare with SQL unless the story failed."""
        failed = sys.exc_info()[0]
        self._world.figures.stories += 1
        try:
            if failed is not None:
                self._world.give_up()
            else:
                self._compare()
        except BaseException:
            self._world.give_up()
            raise
        finally:
            for watcher in self._watchers.values():
                watcher.close()

    def _compare(self) -> None:
        # Copies that no fault has restored yet are restored now.
        if self._faults.use_copies():
            self._check_lost()
        self._world.repair()
        self._faults.happen("restore_redis_files", 0)
        self._world.settle()
        if self._cast.users:
            compare(self._world, self._cast)
            compare_watched(self._world, self._cast, self._watchers)

    # Parts of the above ----------------------------------------------------------------------

    def _tweet(self, user: int, *, retried: bool) -> None:
        request_id = str(uuid.uuid4())
        request = w.CreateTweetRequest(user_id=user, content="hello", request_id=request_id)
        answer = self._calls.command("CreateTweet", request)
        if answer is None:
            self._last = None
            return
        if retried:
            again = self._calls.command("CreateTweet", request)
            assert again is None or again.tweet.id == answer.tweet.id, "a retry made another tweet"
        self._calls.created([answer.tweet])
        self._last = LastCommand(user, answer.tweet.id, answer.consistency_token, created=True)

    def _edge(self, method: str, request: type[Any], follower: int, followed: int) -> None:
        first, second = self._cast.user(follower), self._cast.user(followed)
        if first == second:
            return
        edge = request(follower_id=first, followed_id=second)
        answer = self._calls.command(method, edge)
        self._last = LastCommand(second, None, answer.consistency_token) if answer else None

    def _check_lost(self) -> None:
        """Check, after a restore, that no read accepts the token of a tweet that is lost."""
        last, self._last = self._last, None
        if last is not None and refuses_lost(self._world, last):
            self._count("read with lost token refused")

    def _count(self, operation: str) -> None:
        self._world.figures.operations[operation] += 1
