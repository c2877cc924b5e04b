"""Users and tweets as messages of the contract, and pieces of their serialised form."""

from __future__ import annotations

from datetime import UTC, datetime

from fanfare.common.v1.common_pb2 import Tweet, User
from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(time: datetime) -> Timestamp:
    """Return the Timestamp of an aware datetime, to the microsecond."""
    # Does what Timestamp.FromDatetime does, in a tenth of the time. Every tweet has two of them.
    since = time - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def user(user_id: int, username: str, bio: str, created: datetime, updated: datetime) -> User:
    """Return a User with these fields."""
    return User(
        id=user_id,
        username=username,
        bio=bio,
        created_at=timestamp(created),
        updated_at=timestamp(updated),
    )


def tweet(tweet_id: int, user_id: int, content: str, created: datetime, updated: datetime) -> Tweet:
    """Return a Tweet with these fields."""
    return Tweet(
        id=tweet_id,
        user_id=user_id,
        content=content,
        created_at=timestamp(created),
        updated_at=timestamp(updated),
    )


def delimited(message: bytes) -> bytes:
    """Return a serialised message after its length, as a field of another message holds it."""
    size = len(message)
    prefix = bytearray()
    while size > 0x7F:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + message


def field_tag(field_number: int) -> bytes:
    """Return the tag of a field that holds messages or text; its number must be below 16."""
    return bytes([field_number << 3 | 2])
