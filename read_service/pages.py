"""Pages of a list: how many items a page has, and the token that leads to the next page."""

from __future__ import annotations

from core.errors import InvalidPageTokenError
from core.feed.opaque_tokens import OpaqueTokenCodec

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
# The position before the first item of a list that is sorted in descending order.
FROM_THE_TOP = 2**63 - 1

# A page token holds the position of the last item of its page.
_TOKENS = OpaqueTokenCodec(version=1, values="q", digest_size=8)


def page_size(limit: int) -> int:
    """Return how many items a page has at most, given the limit of a valid request."""
    return min(limit or DEFAULT_LIMIT, MAX_LIMIT)


def encode_page_token(method: str, user_id: int, position: int) -> str:
    """Return the token of the page that begins after the item at this position.

    Args:
        method: the RPC that returns the list; no other RPC accepts the token.
        user_id: whose list it is, or 0; the token is refused for any other user.
        position: the sort key of the last item that the client has.
    """
    return _TOKENS.encode(position, bound_to=(method, user_id))


def decode_page_token(token: str, method: str, user_id: int) -> int:
    """Return the position that a page token holds.

    Raises:
        InvalidPageTokenError: the token is damaged, or belongs to another method or user.
    """
    try:
        (position,) = _TOKENS.decode(token, bound_to=(method, user_id))
    except ValueError:
        raise InvalidPageTokenError from None
    return int(position)
