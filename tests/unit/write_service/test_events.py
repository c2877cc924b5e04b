"""The events that commands enqueue."""

from __future__ import annotations

from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1 import events_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from write_service.events import tweet_created

IDS = st.integers(1, (1 << 63) - 1)


@given(IDS, IDS, st.text(max_size=280), st.booleans(), st.booleans())
def test_an_assembled_event_equals_the_serialised_message(
    tweet_id: int,
    user_id: int,
    content: str,
    pulled: bool,
    became_pulled: bool,
) -> None:
    """tweet_created assembles bytes, which must be what protobuf makes of nested messages."""
    tweet = Tweet(id=tweet_id, user_id=user_id, content=content)
    tweet.created_at.FromMicroseconds(tweet_id % (1 << 50))
    event = tweet_created(tweet, pulled=pulled, became_pulled=became_pulled)
    created = pb.TweetCreated(tweet=tweet, pulled=pulled, became_pulled=became_pulled)
    assert event.payload == pb.FeedEvent(tweet_created=created).SerializeToString()
    assert event.key == user_id
