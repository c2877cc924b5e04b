"""What a client changes in requests before it sends them; without I/O."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterable
from typing import Protocol, TypeVar

from fanfare.write.v1.write_pb2 import BatchCreateTweetsRequest, CreateTweetRequest
from google.protobuf.message import Message


class ListRequest(Protocol):
    """A request for one page of a list."""

    offset: int
    page_token: str


class Page(Protocol):
    """A response with one page of a list."""

    @property
    def next_page_token(self) -> str:
        """The page token of the next page; empty on the last page."""


ListRequestT = TypeVar("ListRequestT", bound=ListRequest)
PageT = TypeVar("PageT", bound=Page)
MessageT = TypeVar("MessageT", bound=Message)


def next_request(request: ListRequestT, page: Page) -> ListRequestT | None:
    """Return the request for the page that follows; None after the last page."""
    if not page.next_page_token:
        return None
    following = copy.deepcopy(request)
    following.offset = 0
    following.page_token = page.next_page_token
    return following


def with_request_ids(request: MessageT) -> MessageT:
    """Return a request that can be sent twice without creating a tweet twice.

    A request that creates tweets gets a request_id for each tweet that has none. Others are
    returned as they are.
    """
    if not isinstance(request, (CreateTweetRequest, BatchCreateTweetsRequest)):
        return request
    repeatable = copy.deepcopy(request)
    if isinstance(repeatable, BatchCreateTweetsRequest):
        tweets: Iterable[CreateTweetRequest] = repeatable.requests
    else:
        tweets = [repeatable]
    for tweet in tweets:
        tweet.request_id = tweet.request_id or str(uuid.uuid4())
    return repeatable
