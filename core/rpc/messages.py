"""Rows of users and tweets as messages of the contract."""

from __future__ import annotations

from datetime import UTC, datetime

from fanfare.common.v1.common_pb2 import Tweet, User
from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(time: datetime) -> Timestamp:
    """Return the Timestamp of an aware datetime, to the microsecond."""
    # As FromDatetime does, in a tenth of its time: every tweet written has two.
    since = time - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def user(user_id: int, username: str, bio: str, created: datetime, updated: datetime) -> User:
    """Return the User of a row with these columns."""
    return User(
        id=user_id,
        username=username,
        bio=bio,
        created_at=timestamp(created),
        updated_at=timestamp(updated),
    )


def tweet(tweet_id: int, user_id: int, content: str, created: datetime, updated: datetime) -> Tweet:
    """Return the Tweet of a row with these columns."""
    return Tweet(
        id=tweet_id,
        user_id=user_id,
        content=content,
        created_at=timestamp(created),
        updated_at=timestamp(updated),
    )


def delimited(message: bytes) -> bytes:
    """Return a serialised message after its length, as it stands in a field of another one."""
    size = len(message)
    prefix = bytearray()
    while size > 0x7F:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + message


def field_tag(field_number: int) -> bytes:
    """Return what stands before each value of a field that holds messages or text.

    Of field numbers below 16, whose tags are one byte.
    """
    return bytes([field_number << 3 | 2])
