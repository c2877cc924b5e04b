"""How `fanfare load` puts posts into requests."""

from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from ops.load_files import MAX_TEXT_BYTES, Post
from ops.load_posts import POSTS_PER_REQUEST, batch_posts

GRPC_BYTES = 4 * 1024 * 1024


@given(st.lists(st.integers(1, MAX_TEXT_BYTES), max_size=8), st.integers(1, 700))
def test_every_request_fits_and_no_post_is_lost_or_moved(sizes: list[int], times: int) -> None:
    """Every batch of posts fits into a request, assuming at most 100 bytes per post for its ids."""
    posts = [Post(n, 1, "x" * size, "") for n, size in enumerate(sizes * times)]
    batches = list(batch_posts(posts))
    assert list(chain.from_iterable(batches)) == posts
    for batch in batches:
        assert 0 < len(batch) <= POSTS_PER_REQUEST
        assert sum(len(post.text) + 100 for post in batch) < GRPC_BYTES
