"""Creates the tweets of `fanfare load` through the write service."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import grpc
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub
from google.rpc.error_details_pb2 import ErrorInfo

from ops.errors import OpsError
from ops.load_files import Post, RejectedLines

POSTS_PER_REQUEST = 1000
# gRPC accepts requests of up to 4 MiB; this leaves room for the ids.
TEXT_BYTES_PER_REQUEST = 3_000_000
CALL_SECONDS = 30.0
# How long to wait for a write service that is unavailable.
UNAVAILABLE_SECONDS = 120.0


def batch_posts(posts: Iterable[Post]) -> Iterator[list[Post]]:
    """Yield the posts, in order, in batches that each fit into one request."""
    batch: list[Post] = []
    size = 0
    for post in posts:
        weight = len(post.text.encode())
        if len(batch) == POSTS_PER_REQUEST or (batch and size + weight > TEXT_BYTES_PER_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(post)
        size += weight
    if batch:
        yield batch


def create_tweets(
    stub: WriteServiceStub,
    posts: Sequence[Post],
    users: Mapping[int, int],
    rejected: RejectedLines,
) -> int:
    """Create the tweets of a batch.

    Args:
        stub: the write service.
        posts: the batch.
        users: the user id for each author's id in the file; authors without one are rejected.
        rejected: gets the posts that become no tweet.

    Returns:
        How many of the tweets exist afterwards.

    Raises:
        OpsError: the call was refused, or temporary errors lasted for UNAVAILABLE_SECONDS.
    """
    items = []
    for post in posts:
        if post.author not in users:
            rejected.add("account belongs to somebody", f"line {post.line}, author {post.author}")
            continue
        request = w.CreateTweetRequest(
            user_id=users[post.author], content=post.text, request_id=post.request_id
        )
        items.append((post, request))
    batch = w.BatchCreateTweetsRequest(requests=[item for _, item in items])
    created = 0
    for (post, _), result in zip(items, create_batch(stub, batch).results, strict=True):
        if result.HasField("error"):
            info = ErrorInfo()
            for detail in result.error.details:
                detail.Unpack(info)
            reason = f"{info.reason}, {result.error.message}"
            rejected.add(reason, f"line {post.line}: {post.text[:40]}")
        else:
            created += 1
    return created


def create_batch(
    stub: WriteServiceStub, request: w.BatchCreateTweetsRequest
) -> w.BatchCreateTweetsResponse:
    """Call BatchCreateTweets until no tweet fails with a temporary error.

    Raises:
        OpsError: the call was refused, or temporary errors lasted for UNAVAILABLE_SECONDS.
    """
    deadline = time.monotonic() + UNAVAILABLE_SECONDS
    pause = 0.1
    while True:
        try:
            response = stub.BatchCreateTweets(request, timeout=CALL_SECONDS)
            if not any(_is_retryable(result.error.code) for result in response.results):
                return response
            reason = "its database does not answer"
        except grpc.RpcError as error:
            code = error.code()
            reason = f"{code.name}, {error.details()}"
            if not _is_retryable(code.value[0]):
                raise OpsError(f"the write service refuses BatchCreateTweets: {reason}") from error
        if time.monotonic() > deadline:
            raise OpsError(
                f"the write service is unavailable ({reason}); repair it, then run the same "
                "command again to continue"
            )
        time.sleep(pause)
        pause = min(2 * pause, 2.0)


def _is_retryable(code: int) -> bool:
    # A retry is safe even if the first call took effect, because of the request_ids.
    return code in {
        grpc.StatusCode.UNAVAILABLE.value[0],
        grpc.StatusCode.RESOURCE_EXHAUSTED.value[0],
        grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
    }
