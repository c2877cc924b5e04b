"""A client of a running system: everything that a test does to it, and waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import redis
from confluent_kafka import KafkaException
from fanfare.common.v1.common_pb2 import User
from helpers.command_line import CommandLine
from helpers.grpc_client import GrpcClient
from helpers.kafka_topic import set_record_bytes
from helpers.leaks import places_with
from helpers.metrics import sum_metrics
from helpers.rest_client import RestClient
from helpers.sql_client import SqlClient
from helpers.waiting import wait_until

from core.feed.keys import Keys
from core.feed.timeline_lists import home_list
from core.runtime.metrics import Metric
from ops.feed_status import Feed
from ops.system import System


class Fanfare(GrpcClient):
    """A client of a running system by gRPC, REST, SQL, Redis and the command line."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.settings = settings = system.settings
        super().__init__(settings)
        self.rest = RestClient(settings).call
        self._sql = SqlClient(settings.primary_dsn())
        self.sql = self._sql.rows
        self.command = CommandLine(settings).run
        self.redis = redis.Redis.from_url(settings.redis_address())
        self.feed = Feed(settings)
        self._logs = settings.state_dir / "logs"

    def close(self) -> None:
        """Close all connections."""
        super().close()
        self._sql.close()
        self.feed.close()
        self.redis.close()

    def reopen_feed(self) -> None:
        """Connect to Kafka again: a client may wait forever for what a restored broker has lost."""
        self.feed.close()
        self.feed = Feed(self.settings)

    @property
    def keys(self) -> Keys:
        """The names of the keys in Redis, which contain the database's current history.

        For a moment after the primary has started there is no current history; this waits for one.
        """
        found: list[str] = []

        def has_history() -> bool:
            ((history,),) = self.sql("SELECT valid_history()")
            found.append(history)
            return history is not None

        wait_until(has_history, "a history has begun since Postgres started")
        return Keys.of(self.settings.redis_prefix, found[-1])

    def where(self, *marks: str) -> set[str]:
        """Return the names of the tables, and "redis" and "logs", that contain one of the marks."""
        return places_with(marks, self.sql, self.redis, self._logs)

    def cached_pair(self, tweets: int = 3) -> tuple[User, User]:
        """Return an author of some tweets, and a follower whose timeline list is in Redis."""
        author = self.user()
        reader = self.user(author)
        self.tweets(author, tweets)
        self.wait_drained()  # the event of the follow deletes the list
        self.wait_cached(reader)
        return author, reader

    def wait_cached(self, *readers: User) -> None:
        """Wait until these timelines are exact and their lists in Redis.

        A read whose commands to Redis are not answered in time is exact too, but builds no list.
        """
        for reader in readers:
            wait_until(
                partial(self._is_cached, reader),
                f"the timeline of {reader.username} is exact and in Redis",
            )

    def _is_cached(self, reader: User) -> bool:
        return self._is_exact(reader) and self.has_list(reader)

    def has_list(self, reader: User) -> bool:
        """Return whether the list of a home timeline is in Redis."""
        return bool(self.redis.exists(self.keys.for_list(home_list(reader.id))))

    def oracle(self, reader: User) -> list[int]:
        """Return the tweet ids that a home timeline must have, from SQL."""
        rows = self.sql(
            "SELECT tweets.id FROM follows JOIN tweets ON user_id = followed_id"
            " WHERE follower_id = %s ORDER BY tweets.id DESC",
            reader.id,
        )
        return [row[0] for row in rows]

    def metrics(self) -> Counter[Metric]:
        """Return the metrics of rare events, summed over all processes and their earlier runs."""
        return sum_metrics(self._logs)

    def wait_counted(
        self,
        metric: Metric,
        before: Counter[Metric],
        act: Callable[[], object] = lambda: None,
    ) -> None:
        """Wait until a metric is higher than before; act before each look at it."""

        def counted() -> bool:
            act()
            return self.metrics()[metric] > before[metric]

        wait_until(counted, f"{metric} is counted")

    def waiting_for_locks(self, service: str) -> int:
        """Return how many sessions of a service, such as "read", wait for a lock in Postgres."""
        ((count,),) = self.sql(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND application_name = %s",
            f"fanfare-{service}",
        )
        return int(count)

    def set_record_bytes(self, size: int) -> None:
        """Make Kafka refuse records of more than this many bytes."""
        set_record_bytes(self.settings, size)

    def wait_sent(self) -> None:
        """Wait until Kafka has every event that has been written so far."""
        ((last,),) = self.sql("SELECT coalesce(max(id), 0) FROM outbox")
        # This does not wait for an empty outbox, which there may never be while commands go on.
        unsent = "SELECT 1 FROM outbox WHERE sent_at IS NULL AND id <= %s LIMIT 1"
        wait_until(lambda: not self.sql(unsent, last), "the events so far are sent")

    def wait_drained(self) -> None:
        """Wait until every event has been applied to every shard of Redis."""
        wait_until(self.is_drained, "the outbox and Kafka are drained")

    def is_drained(self) -> bool:
        """Return whether every event has been applied; False while a server cannot be reached."""
        try:
            # The outbox first: to ask Kafka and Redis about all partitions takes much longer.
            unsent = self.sql("SELECT 1 FROM outbox WHERE sent_at IS NULL LIMIT 1")
            return not unsent and self.feed.remaining() == 0
        except (KafkaException, redis.RedisError):
            return False

    def reads_current_history(self) -> bool:
        """Return whether the read service has entered the history that the database is in.

        It notices a new history within about a second. Until then it uses Redis as before.
        """
        ((history,),) = self.sql("SELECT valid_history()")
        log = self.system.processes["read"].log_path.read_text(errors="replace")
        entered = log.rpartition("reading timelines of history=")[2]
        return history is not None and entered.startswith(history)

    def wait_exact(self, *readers: User) -> None:
        """Wait until every page of these timelines equals the oracle."""
        for reader in readers:
            wait_until(
                partial(self._is_exact, reader), f"the timeline of {reader.username} is exact"
            )

    def _is_exact(self, reader: User) -> bool:
        return self.whole_timeline(reader) == self.oracle(reader)
