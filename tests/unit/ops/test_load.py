"""How posts are put into requests."""

from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from ops.load import POSTS_PER_REQUEST, batch_posts
from ops.load_files import MAX_TEXT_BYTES, Post

GRPC_BYTES = 4 * 1024 * 1024


@given(st.lists(st.integers(1, MAX_TEXT_BYTES), max_size=8), st.integers(1, 700))
def test_every_request_fits_and_no_post_is_lost_or_moved(sizes: list[int], times: int) -> None:
    """However long the texts are; the ids take less than 100 bytes a post."""
    posts = [Post(n, 1, "x" * size, "") for n, size in enumerate(sizes * times)]
    made = list(batch_posts(posts))
    assert list(chain.from_iterable(made)) == posts
    for batch in made:
        assert 0 < len(batch) <= POSTS_PER_REQUEST
        assert sum(len(post.text) + 100 for post in batch) < GRPC_BYTES
