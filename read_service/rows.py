"""The rows that the statements of queries.sql return, with a field for each column."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fanfare.common.v1.common_pb2 import User

from core.rpc import messages


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user."""

    id: int
    username: str
    bio: str
    created_at: datetime
    updated_at: datetime

    def to_message(self) -> User:
        """Return the user as a message of the contract."""
        return messages.user(self.id, self.username, self.bio, self.created_at, self.updated_at)


@dataclass(frozen=True, slots=True)
class AccountRow(UserRow):
    """A user with the email address, which is empty for a user without one."""

    email: str


@dataclass(frozen=True, slots=True)
class FollowRow(UserRow):
    """The user at the other end of a follow edge, with the number by which edges are ordered."""

    seq: int


@dataclass(frozen=True, slots=True)
class FollowTimeRow:
    """When a follow edge was made."""

    created_at: datetime


@dataclass(frozen=True, slots=True)
class TweetRow:
    """A tweet."""

    id: int
    user_id: int
    content: str
    created_at: datetime
    updated_at: datetime

    def serialise(self) -> bytes:
        """Return the tweet as a serialised message of the contract."""
        return messages.tweet(
            self.id, self.user_id, self.content, self.created_at, self.updated_at
        ).SerializeToString()


@dataclass(frozen=True, slots=True)
class VersionedTweetRow(TweetRow):
    """A tweet with its version, which grows with each update."""

    version: int


@dataclass(frozen=True, slots=True)
class IdRow:
    """The id of something that exists."""

    id: int


@dataclass(frozen=True, slots=True)
class BaseRow:
    """What the base of a home timeline's list is made of."""

    user_id: int
    ids: list[int]
    """The newest tweets, newest first."""
    pull_authors: list[int]
    """Those of the followed users whose tweets are not pushed."""


@dataclass(frozen=True, slots=True)
class AuthorIdsRow:
    """The ids of an author's newest tweets, newest first."""

    author: int
    ids: list[int]


@dataclass(frozen=True, slots=True)
class ExistsRow:
    """A row whose only purpose is to exist."""

    found: bool
