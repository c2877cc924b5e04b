"""Consistency tokens: a command returns one, and a query that passes it sees the command's effect.

A token names a moment of the database: a history, and an LSN at or after the command's commit.
"""

from __future__ import annotations

from core.errors import InvalidConsistencyTokenError
from core.feed.history import Lsn, Moment
from core.feed.opaque_tokens import OpaqueTokenCodec

# The id of the history, whose ten hexadecimal digits make five bytes, and the LSN.
_TOKENS = OpaqueTokenCodec(version=2, values="5sQ", digest_size=4)


def encode_token(moment: Moment) -> str:
    """Return the consistency token of a command that was committed at or before the moment."""
    return _TOKENS.encode(bytes.fromhex(moment.history), moment.lsn)


def decode_token(token: str) -> Moment | None:
    """Return the moment that the query's server must have reached, or None for an empty token.

    Raises:
        InvalidConsistencyTokenError: no command returned this token.
    """
    if not token:
        return None
    try:
        history, lsn = _TOKENS.decode(token)
    except ValueError:
        raise InvalidConsistencyTokenError from None
    return Moment(history.hex(), Lsn(lsn))
