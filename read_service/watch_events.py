"""The events of watches, serialised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fanfare.read.v1 import read_pb2 as pb

from core.rpc.messages import delimited, field_tag
from read_service.held_tweets import Emptied, HeldTweets, Put, Removed, steps
from read_service.metrics import HEARTBEAT, REMOVED, RESET, TWEET, WATCH_EVENTS
from read_service.resume_tokens import encode_resume_token

_TWEET = field_tag(pb.WatchHomeTimelineResponse.TWEET_FIELD_NUMBER)
_TOKEN = field_tag(pb.WatchHomeTimelineResponse.RESUME_TOKEN_FIELD_NUMBER)
_RESET = pb.WatchHomeTimelineResponse(reset=pb.Reset()).SerializeToString()
_HEARTBEAT = pb.WatchHomeTimelineResponse(heartbeat=pb.Heartbeat()).SerializeToString()


def changes(
    user_id: int, held: HeldTweets, wanted: HeldTweets, tweets: Sequence[bytes], limit: int
) -> Iterator[tuple[bytes, HeldTweets]]:
    """Yield the events that bring a client to another state, each with the state after it.

    Args:
        user_id: whose timeline it is.
        held: what the client holds.
        wanted: what it is to hold.
        tweets: the tweets of that state, each preceded by its length.
        limit: how many events there are at most.
    """
    for step, state in steps(held, wanted, limit):
        match step:
            case Put(at):
                WATCH_EVENTS.counts[TWEET] += 1
                event = _TWEET + tweets[at]
            case Removed(tweet_id):
                WATCH_EVENTS.counts[REMOVED] += 1
                removed = pb.WatchHomeTimelineResponse(removed_tweet_id=tweet_id)
                event = removed.SerializeToString()
            case Emptied():
                WATCH_EVENTS.counts[RESET] += 1
                event = _RESET
        yield event + _token(user_id, state), state


def heartbeat(user_id: int, held: HeldTweets) -> bytes:
    """Return the event that says that a client is up to date."""
    WATCH_EVENTS.counts[HEARTBEAT] += 1
    return _HEARTBEAT + _token(user_id, held)


def _token(user_id: int, held: HeldTweets) -> bytes:
    return _TOKEN + delimited(encode_resume_token(user_id, held).encode())
