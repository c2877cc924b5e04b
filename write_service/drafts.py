"""Drafts: tweets that have been requested and not been created yet."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from uuid import UUID

from fanfare.write.v1.write_pb2 import CreateTweetRequest

from core.errors import InvalidRequestError
from core.runtime.tracing import current_traceparent

MAX_CODE_POINTS = 280
# At most this many code points of a text become one code point in NFC.
LONGEST_DECOMPOSITION = 4


def normalise_content(content: str) -> str:
    """Return the content as it is stored.

    Its line ends are newlines (browsers send CR LF), it is in Unicode normalization form C, and it
    has no surrounding white space.

    Raises:
        InvalidRequestError: the result is empty or longer than 280 code points.
    """
    text = content.strip()
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    # A text beyond this length is too long in any form, and normalising it could be slow: the time
    # grows with the square of the longest run of combining marks.
    if len(text) <= MAX_CODE_POINTS * LONGEST_DECOMPOSITION:
        text = unicodedata.normalize("NFC", text).strip()
    if not text:
        raise InvalidRequestError([("content", "must not be empty or only white space")])
    if len(text) > MAX_CODE_POINTS:
        raise InvalidRequestError(
            [("content", f"must be at most {MAX_CODE_POINTS} code points, has {len(text)}")]
        )
    return text


@dataclass(frozen=True)
class TweetDraft:
    """A tweet to be created; its content is normalised."""

    user_id: int
    content: str
    request_id: UUID | None
    """The idempotency key, if the client gave one."""
    traceparent: str | None = None
    """The span of the call, if it is traced."""

    @property
    def sha256(self) -> bytes:
        """A digest of the content, to tell a retry from another use of the same request_id."""
        return hashlib.sha256(self.content.encode()).digest()


def parse_draft(request: CreateTweetRequest) -> TweetDraft:
    """Return the tweet that a request of the current call asks for.

    Args:
        request: has been validated against the contract.

    Raises:
        InvalidRequestError: the content is empty or too long after normalisation.
    """
    request_id = UUID(request.request_id) if request.request_id else None
    content = normalise_content(request.content)
    return TweetDraft(request.user_id, content, request_id, current_traceparent())
