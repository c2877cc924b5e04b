"""Resume tokens: what the client of a watch holds, as a string that it passes when it returns.

A token has the ids of the tweets and a short digest of each. So any process, at any later time, can
send the client just the difference. Nothing is stored on the server.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from core.feed.opaque_tokens import OpaqueTokenCodec
from core.watch_errors import InvalidResumeTokenError
from read_service.held_tweets import DIGEST_BYTES, NOTHING, HeldTweets
from read_service.pages import MAX_LIMIT

METHOD = "WatchHomeTimeline"
_CODEC_DIGEST_BYTES = 8
# What a token has beside its values: the version, and the digest of the codec.
_FRAME_BYTES = 1 + _CODEC_DIGEST_BYTES
_ID_BYTES = 8
# The width of the distances, and the first id.
_HEAD_BYTES = 1 + _ID_BYTES
_MAX_BYTES = _HEAD_BYTES + MAX_LIMIT * (_ID_BYTES + DIGEST_BYTES)
_MAX_ID = 2**63 - 1


def encode_resume_token(user_id: int, held: HeldTweets) -> str:
    """Return the resume token of a client that holds these tweets.

    Args:
        user_id: whose timeline; the token is refused for any other user.
        held: at most MAX_LIMIT tweets.
    """
    packed = _pack(held)
    return _codec(len(packed)).encode(packed, bound_to=(METHOD, user_id))


def decode_resume_token(token: str, user_id: int) -> HeldTweets:
    """Return what a client with this resume token holds; an empty token stands for nothing.

    Raises:
        InvalidResumeTokenError: the token is damaged, or belongs to another user.
    """
    if not token:
        return NOTHING
    size = len(token) * 3 // 4 - _FRAME_BYTES
    try:
        (packed,) = _codec(size).decode(token, bound_to=(METHOD, user_id))
        return _unpack(packed)
    except ValueError:
        raise InvalidResumeTokenError from None


@cache
def _codec(size: int) -> OpaqueTokenCodec:
    """Return the codec of tokens with this many bytes of content.

    Raises:
        ValueError: no token has so many.
    """
    if not 0 <= size <= _MAX_BYTES:
        raise ValueError("the token has an impossible length")
    return OpaqueTokenCodec(version=1, values=f"{size}s", digest_size=_CODEC_DIGEST_BYTES)


def _pack(held: HeldTweets) -> bytes:
    """Return the state as bytes: the first id, the distances between ids, and the digests.

    Tweets of one timeline are near one another, so that most distances need six bytes of eight.
    """
    if not held.ids:
        return b""
    distances = [newer - older for newer, older in pairwise(held.ids)]
    width = (max(distances, default=0).bit_length() + 7) // 8
    packed = [distance.to_bytes(width) for distance in distances]
    return b"".join([bytes([width]), held.ids[0].to_bytes(_ID_BYTES), *packed, held.digests])


def _unpack(packed: bytes) -> HeldTweets:
    """Return the state that _pack() has packed.

    Raises:
        ValueError: no state is packed like this.
    """
    if not packed:
        return NOTHING
    width, id_ = packed[0], int.from_bytes(packed[1:_HEAD_BYTES])
    count, rest = divmod(len(packed) - _HEAD_BYTES + width, width + DIGEST_BYTES)
    if rest or not 1 <= count <= MAX_LIMIT or width > _ID_BYTES or id_ > _MAX_ID:
        raise ValueError("the content has an impossible length")
    end = _HEAD_BYTES + (count - 1) * width
    ids = [id_]
    for at in range(_HEAD_BYTES, end, width or 1):
        ids.append(ids[-1] - int.from_bytes(packed[at : at + width]))
    if len(ids) != count or ids[-1] <= 0 or any(newer <= older for newer, older in pairwise(ids)):
        raise ValueError("the ids are not in descending order")
    return HeldTweets(tuple(ids), packed[end:])
