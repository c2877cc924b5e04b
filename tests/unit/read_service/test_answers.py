"""Answers with a page of tweets, as bytes and as JSON."""

from __future__ import annotations

from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1.read_pb2 import GetHomeTimelineResponse
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from core.feed.tweet_cache import encode_entry
from core.rpc.messages import delimited
from gateway.transcode import printer
from read_service.answers import HomePageAnswer
from read_service.local_tweet_cache import LocalTweetCache

_SECONDS = st.integers(0, 253_402_300_799) | st.none()
_TIMES = st.builds(
    lambda seconds, nanos: None if seconds is None else Timestamp(seconds=seconds, nanos=nanos),
    _SECONDS,
    st.integers(0, 999_999_999),
)
_TWEETS = st.builds(
    Tweet,
    id=st.integers(-(2**63), 2**63 - 1),
    user_id=st.integers(0, 2**63 - 1),
    content=st.text(),
    created_at=_TIMES,
    updated_at=_TIMES,
)


@given(tweets=st.lists(_TWEETS, max_size=4), token=st.text(), is_kept=st.booleans())
def test_the_json_is_what_is_printed_for_the_message(
    tweets: list[Tweet], token: str, *, is_kept: bool
) -> None:
    """It equals the printer's and json_format's, whether the tweets are in the cache or not."""
    if not tweets:
        token = ""  # a page without tweets is the last
    local = LocalTweetCache(10)
    ids = [tweet.id for tweet in tweets]
    serialised = [tweet.SerializeToString() for tweet in tweets]
    if is_kept:
        local.remember(ids, [encode_entry(1, each) for each in serialised])
    answer = HomePageAnswer(ids, [*map(delimited, serialised)], token, local)
    message = GetHomeTimelineResponse.FromString(answer.SerializeToString())
    assert message == GetHomeTimelineResponse(tweets=tweets, next_page_token=token)
    expected = json_format.MessageToJson(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        indent=None,
        ensure_ascii=False,
    ).encode()
    for _ in range(2):  # the second time, the tweets need not be printed
        assert answer.json() == expected
    assert printer(message.DESCRIPTOR)(message).encode() == expected
