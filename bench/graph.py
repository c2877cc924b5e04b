"""The follow graph and the posts that the benchmarks use, from real data or generated.

User ids are 1, 2, … in the order of the number of followers, the most followed user first. Follows
and posts come from different sources and are combined by rank: the author with the most posts
becomes the user with the most followers, and so on.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ops.input_files import read_lines
from ops.load_files import PostParser, RejectedLines, parse_follow

FOLLOWS = "follows.txt.gz"
POSTS = "posts.jsonl.gz"
Edge = tuple[int, int]


@dataclass(frozen=True)
class Graph:
    """Users, who follows whom, and what they wrote."""

    source: str
    """Where the data come from, in words."""
    users: int
    """The number of users, and the highest user id."""
    followings: Mapping[int, Sequence[int]]
    """The followings of each user who follows anybody."""
    followers: Mapping[int, Sequence[int]]
    """The followers of each user who has any."""
    posts: Sequence[tuple[int, str]]
    """(author id, text), oldest first."""

    @property
    def readers(self) -> Sequence[int]:
        """The users who follow anybody, and so have a timeline to read."""
        return list(self.followings)

    @property
    def edges(self) -> int:
        """The number of follows."""
        return sum(len(followed) for followed in self.followings.values())


def read_graph(folder: Path, edges: int | None = None, posts: int | None = None) -> Graph:
    """Read the graph from files.

    Args:
        folder: holds follows.txt.gz and posts.jsonl.gz.
        edges: how many follows to use, the first ones; None for all.
        posts: how many posts to use, the first ones; None for all.

    Raises:
        OSError: a file cannot be read.
    """
    rejects = RejectedLines()
    lines = read_lines(folder / FOLLOWS, lambda _: None)
    found = (parse_follow(number, line, rejects) for number, line in lines)
    follows = list(dict.fromkeys(_first(edges, (edge for edge in found if edge is not None))))
    written = []
    parser = PostParser(rejects)
    for number, line in read_lines(folder / POSTS, lambda _: None):
        if (post := parser.parse(number, line)) is not None:
            written.append((post.author, post.text))
            if len(written) == posts:
                break
    return _graph("the Higgs Twitter graph with StockNet posts", follows, written)


def generate_graph(users: int, followings: int, posts: int) -> Graph:
    """Generate a small graph, always the same, for machines without the data.

    Args:
        users: the number of users.
        followings: how many users each user follows, at most.
        posts: the number of posts.
    """
    chance = random.Random(5)  # noqa: S311 - not a secret
    follows = []
    for follower in range(1, users + 1):
        # As in real graphs, a few users have most of the followers.
        followed = {int(users ** chance.random()) for _ in range(followings)} - {follower}
        follows += [(follower, other) for other in followed]
    written = [(int(users ** chance.random()), f"post {n}") for n in range(posts)]
    return _graph("a generated graph", follows, written)


def _graph(source: str, follows: Sequence[Edge], posts: Sequence[tuple[int, str]]) -> Graph:
    counts: Counter[int] = Counter()
    for follower, followed in follows:
        counts[followed] += 1
        counts[follower] += 0
    by_followers = sorted(counts, key=lambda user: (-counts[user], user))
    ids = {user: number for number, user in enumerate(by_followers, 1)}
    followings: defaultdict[int, list[int]] = defaultdict(list)
    followers: defaultdict[int, list[int]] = defaultdict(list)
    for follower, followed in follows:
        followings[ids[follower]].append(ids[followed])
        followers[ids[followed]].append(ids[follower])
    written = Counter(author for author, _ in posts)
    by_posts = sorted(written, key=lambda author: (-written[author], author))
    # User ids are ranks too. Authors beyond the number of users are left out.
    ranks = {author: rank for rank, author in enumerate(by_posts, 1) if rank <= len(ids)}
    mapped = [(ranks[author], text) for author, text in posts if author in ranks]
    return Graph(source, len(ids), dict(followings), dict(followers), mapped)


def _first(count: int | None, edges: Iterable[Edge]) -> Iterable[Edge]:
    for number, edge in enumerate(edges):
        if number == count:
            return
        yield edge


def load(dsn: str, graph: Graph) -> None:
    """Load the graph into a database without users.

    The rows are copied into the tables, and no events are enqueued: nothing has been read yet, so
    no timeline is cached that would have to change.
    """
    with psycopg.connect(dsn) as connection:
        with connection.cursor() as cursor:
            # Switches off the checks of foreign keys, which would take most of the time.
            cursor.execute("SET LOCAL session_replication_role = replica")
            with cursor.copy("COPY users (id, username) FROM STDIN") as copy:
                for user in range(1, graph.users + 1):
                    copy.write_row((user, f"u{user}"))
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence('users', 'id'), %s)", (graph.users,)
            )
            with cursor.copy("COPY follows (follower_id, followed_id) FROM STDIN") as copy:
                for follower, followed in graph.followings.items():
                    for other in followed:
                        copy.write_row((follower, other))
            cursor.execute("CREATE TEMPORARY TABLE posts (n int, author bigint, content text)")
            with cursor.copy("COPY posts FROM STDIN") as copy:
                for number, (author, text) in enumerate(graph.posts):
                    copy.write_row((number, author, text))
            cursor.execute(
                "INSERT INTO tweets (id, user_id, content, created_at, updated_at)"
                " SELECT next_tweet_id(), author, content, now(), now()"
                " FROM (SELECT author, content FROM posts ORDER BY n) AS ordered"
            )
        connection.commit()
        # Now, so that autovacuum does not do it during a benchmark.
        connection.autocommit = True
        connection.execute("VACUUM (ANALYZE)")
