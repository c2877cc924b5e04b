"""The follow graph and the posts that the rows work on: real ones, or small made-up ones.

Users have the ids 1, 2, … here, the most followed first. Posts and follows come from different
sources, so who wrote what is a construction, the same as that of `fanfare load`: whoever posts
most is the user with the most followers, and so on down.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ops.load_files import RejectedLines, match_authors, parse_follow, parse_post, read_lines

FOLLOWS = "follows.txt.gz"
POSTS = "posts.jsonl.gz"
Edge = tuple[int, int]


@dataclass(frozen=True)
class Graph:
    """Users, who follows whom, and what they wrote."""

    source: str
    """Where it is from, in words."""
    users: int
    """How many there are; their ids are 1 to this."""
    followings: Mapping[int, Sequence[int]]
    """Whom each reader follows."""
    followers: Mapping[int, Sequence[int]]
    """By whom each user who has any is followed."""
    posts: Sequence[tuple[int, str]]
    """(author, text), oldest first; the authors are users."""

    @property
    def readers(self) -> Sequence[int]:
        """The users who follow anyone, and so have a timeline to read."""
        return list(self.followings)

    @property
    def edges(self) -> int:
        """How many follows there are."""
        return sum(len(followed) for followed in self.followings.values())


def real_graph(folder: Path, edges: int | None = None, posts: int | None = None) -> Graph:
    """Return the graph of the files in the folder; of their first lines where told so.

    Raises OSError when they cannot be read.
    """
    rejects = RejectedLines()
    lines = read_lines(folder / FOLLOWS, lambda _: None)
    found = (parse_follow(number, line, rejects) for number, line in lines)
    follows = list(dict.fromkeys(_first(edges, (edge for edge in found if edge is not None))))
    written = []
    for number, line in read_lines(folder / POSTS, lambda _: None):
        if (post := parse_post(number, line, rejects)) is not None:
            written.append((post.author, post.text))
            if len(written) == posts:
                break
    return _graph("the Higgs Twitter graph with StockNet posts", follows, written)


def made_up_graph(users: int, followings: int, posts: int) -> Graph:
    """Return a small graph for machines that have no real one; the same at every call."""
    chance = random.Random(5)  # noqa: S311 - a made-up graph, no secret
    follows = []
    for follower in range(1, users + 1):
        # Few are followed by many, as in real graphs.
        followed = {int(users ** chance.random()) for _ in range(followings)} - {follower}
        follows += [(follower, other) for other in followed]
    written = [(int(users ** chance.random()), f"post {n}") for n in range(posts)]
    return _graph("a made-up graph, as there are no real data here", follows, written)


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
    writers = match_authors(Counter(author for author, _ in posts), counts)
    mapped = [(ids[writers[author]], text) for author, text in posts if author in writers]
    return Graph(source, len(ids), dict(followings), dict(followers), mapped)


def _first(count: int | None, edges: Iterable[Edge]) -> Iterable[Edge]:
    for number, edge in enumerate(edges):
        if number == count:
            return
        yield edge


def load(dsn: str, graph: Graph) -> None:
    """Put the graph into a database that holds no users yet.

    Straight into the tables and without events: as long as nobody has read or written anything,
    no timeline is cached that would have to hear of it.
    """
    with psycopg.connect(dsn) as connection:
        with connection.cursor() as cursor:
            # The ids are right by construction; checking each costs more than the rest.
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
        # Now, and not by the autovacuum in the middle of a row.
        connection.autocommit = True
        connection.execute("VACUUM (ANALYZE)")
