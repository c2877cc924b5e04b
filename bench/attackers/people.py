"""The rows that the attacks need: accounts with one password, authors, and accounts to delete.

They are written straight into Postgres, without events: nothing has been read yet, so no cached
timeline would have to change.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub

PASSWORD = "correct horse battery staple"  # noqa: S105 - of accounts that exist only here
ACCOUNTS = 60
OTHERS = 20
# How many authors each of the other users follows.
OTHERS_FOLLOWINGS = 20


@dataclass(frozen=True)
class Size:
    """How large the rows and the measurements are."""

    rounds: int
    """How often each attack is measured."""
    seconds: float
    """How long others are measured in each round, once without and once with the attack."""
    authors: int
    """How many authors the first attacker follows."""
    tweets: int
    """How many tweets each of these authors has."""
    deleted_tweets: int
    """How many tweets an account has that is deleted."""
    celebrity_followers: int
    """How many followers the user has who is followed and unfollowed."""


@dataclass(frozen=True)
class People:
    """Ids of users."""

    accounts: list[int]
    """The attackers' accounts; the first one follows all authors."""
    others: list[int]
    """The users whose calls are measured."""
    names: list[str]
    """The usernames of others, in the same order."""
    authors: list[int]
    """The first one is the celebrity."""
    doomed: list[int]
    """Accounts with many tweets, one to delete in each round."""


def create_people(dsn: str, write: WriteServiceStub, size: Size) -> People:
    """Create all users, with their follows and tweets.

    Args:
        dsn: the database.
        write: the write service, which hashes the password.
        size: how many rows to create.
    """
    first = w.CreateUserRequest(username="first", email="first@example.com", password=PASSWORD)
    write.CreateUser(first)
    with psycopg.connect(dsn) as connection:
        # Switches off the checks of foreign keys, which would take most of the time.
        connection.execute("SET LOCAL session_replication_role = replica")
        people = People(
            accounts=_users(connection, "account", ACCOUNTS),
            others=_users(connection, "other", OTHERS),
            names=[f"other_{number}" for number in range(1, OTHERS + 1)],
            authors=_users(connection, "author", size.authors),
            doomed=_users(connection, "doomed", size.rounds),
        )
        fans = _users(connection, "fan", size.celebrity_followers)
        _follow(connection, people.accounts[:1], people.authors)
        _follow(connection, people.others, people.authors[:OTHERS_FOLLOWINGS])
        _follow(connection, fans, people.authors[:1])
        _tweet(connection, people.authors, size.tweets)
        _tweet(connection, people.doomed, size.deleted_tweets)
    with psycopg.connect(dsn, autocommit=True) as connection:
        # Now, so that autovacuum does not do it during a measurement.
        connection.execute("VACUUM (ANALYZE)")
    return people


def _users(connection: psycopg.Connection, name: str, count: int) -> list[int]:
    rows = connection.execute(
        "INSERT INTO users (username, email, password_hash)"
        " SELECT name, name || '@example.com', password_hash FROM users,"
        " (SELECT %s || '_' || n AS name FROM generate_series(1, %s) AS n) AS names"
        " WHERE username = 'first' RETURNING id",
        (name, count),
    )
    return [row[0] for row in rows]


def _follow(connection: psycopg.Connection, followers: list[int], followed: list[int]) -> None:
    connection.execute(
        "INSERT INTO follows (follower_id, followed_id)"
        " SELECT a, b FROM unnest(%s::bigint[]) AS a, unnest(%s::bigint[]) AS b",
        (followers, followed),
    )


def _tweet(connection: psycopg.Connection, authors: list[int], count: int) -> None:
    connection.execute(
        "INSERT INTO tweets (id, user_id, content, created_at, updated_at)"
        " SELECT next_tweet_id(), author, 'tweet ' || n, now(), now()"
        " FROM generate_series(1, %s) AS n, unnest(%s::bigint[]) AS author",
        (count, authors),
    )
