"""Answers with a page of tweets, put together from serialised or printed tweets."""

from __future__ import annotations

from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Protocol

from fanfare.read.v1 import read_pb2 as pb

from core.rpc.json_answer import JsonAnswer
from core.rpc.messages import delimited, field_tag
from read_service.local_tweet_cache import LocalTweetCache


class _PageMessage(Protocol):
    TWEETS_FIELD_NUMBER: int
    NEXT_PAGE_TOKEN_FIELD_NUMBER: int


def page_tags(message: type[_PageMessage]) -> tuple[bytes, bytes]:
    """Return the field tags of a tweet and of next_page_token in messages of this type."""
    return field_tag(message.TWEETS_FIELD_NUMBER), field_tag(message.NEXT_PAGE_TOKEN_FIELD_NUMBER)


def serialised_page(tags: tuple[bytes, bytes], tweets: Sequence[bytes], token: str) -> bytes:
    """Return the fields of a serialised message that hold tweets and next_page_token.

    Args:
        tags: the field tags of a tweet and of next_page_token.
        tweets: serialised tweets, each preceded by its length.
        token: the next page token; empty if there is no next page.
    """
    tweet_tag, token_tag = tags
    fields = b"".join([tweet_tag + tweet for tweet in tweets])
    return fields + token_tag + delimited(token.encode()) if token else fields


_HOME_PAGE = page_tags(pb.GetHomeTimelineResponse)


class HomePageAnswer(JsonAnswer):
    """A GetHomeTimelineResponse: as bytes for gRPC, as JSON for REST.

    Each form is put together once, because a page may be returned to many calls.
    """

    __slots__ = ("_ids", "_json", "_local", "_serialised", "_token", "_tweets")

    def __init__(
        self, ids: Sequence[int], tweets: Sequence[bytes], token: str, local: LocalTweetCache
    ) -> None:
        """Take the parts of the answer.

        Args:
            ids: the ids of the tweets.
            tweets: the tweets, serialised, each preceded by its length.
            token: the next page token; empty if there is no next page.
            local: prints tweets as JSON.
        """
        self._ids = ids
        self._tweets = tweets
        self._token = token
        self._local = local
        self._serialised: bytes | None = None
        self._json: bytes | None = None

    def SerializeToString(self) -> bytes:  # noqa: N802 - the name that messages have
        """Return the serialised GetHomeTimelineResponse."""
        if self._serialised is None:
            self._serialised = serialised_page(_HOME_PAGE, self._tweets, self._token)
        return self._serialised

    def json(self) -> bytes:
        """Return the GetHomeTimelineResponse as JSON."""
        if self._json is None:
            tweets = b", ".join(self._local.json(self._ids, self._tweets))
            token = encode_basestring(self._token).encode()
            self._json = b'{"tweets": [%b], "next_page_token": %b}' % (tweets, token)
        return self._json
