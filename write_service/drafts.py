"""What a tweet may say, and what a retried request means."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from uuid import UUID

from fanfare.write.v1.write_pb2 import CreateTweetRequest

from core.errors import InvalidRequestError

MAX_CODE_POINTS = 280
# So many code points become one in form C at most.
LONGEST_DECOMPOSITION = 4


def normalise_content(content: str) -> str:
    """Return the content in normalisation form C without outer white space.

    Raises InvalidRequestError when that leaves none, or more than 280 code points.
    """
    text = content.strip()
    # More is too long in any form; and to normalise a long run of marks takes its length's square.
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
class Draft:
    """A tweet to be created, with its content normalised."""

    user_id: int
    content: str
    request_id: UUID | None

    @property
    def sha256(self) -> bytes:
        """The digest by which a retry is known to carry the same content."""
        return hashlib.sha256(self.content.encode()).digest()


def draft(request: CreateTweetRequest) -> Draft:
    """Return the tweet that a valid request asks for; raises InvalidRequestError."""
    request_id = UUID(request.request_id) if request.request_id else None
    return Draft(request.user_id, normalise_content(request.content), request_id)
