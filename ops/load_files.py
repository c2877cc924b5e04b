"""Parses the lines of `fanfare load`: follows and posts.

The formats are those of the project's example data. A follow is a line `A B`, or `A,B`: A follows
B. A post is a line with a JSON object that has `author`, `created_ms` and `text`. Lines that cannot
be used are counted and skipped.
"""

from __future__ import annotations

import html
import json
import re
import uuid
from collections import Counter
from dataclasses import dataclass, field

# How many rejected lines are shown for each reason.
EXAMPLES = 3
# An imported user is named u<id>, and a username has at most 32 characters.
MAX_SOURCE_ID = 10**31 - 1
_FOLLOW = re.compile(r"\s*([0-9]{1,31})(?:\s*,\s*|\s+)([0-9]{1,31})\s*")
# The longest content that the write service accepts, before it normalises it. Checked here too,
# because a longer text may not even fit into a request.
MAX_TEXT_BYTES = 8192
# Namespace of the request_ids: loading a post again repeats the same request.
NAMESPACE = uuid.UUID("6f0d5f2e-6a3a-4d53-9d5c-3c1a52c7a4a6")


@dataclass
class RejectedLines:
    """How many lines were rejected for each reason, with the first few of each as examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, example: str) -> None:
        """Count a rejected line.

        Args:
            reason: why it was rejected; lines are counted by reason.
            example: the line's number or its text. Control characters are blanked, so that a file
                cannot send escape sequences to the operator's terminal.
        """
        self.counts[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append("".join(c if c.isprintable() else " " for c in example))


@dataclass(frozen=True)
class Post:
    """A post as it stands in its file, with HTML entities decoded."""

    line: int
    author: int
    """The author's id in the file."""
    text: str
    request_id: str
    """Derived from the post, so that loading it again creates no second tweet."""


def parse_follow(number: int, line: str, rejected: RejectedLines) -> tuple[int, int] | None:
    """Return (follower, followed) of a line; None for a rejected, empty or comment line."""
    if not line.strip() or line.startswith("#"):
        return None
    match = _FOLLOW.fullmatch(line)
    if match is None:
        rejected.add("not two user ids", f"line {number}: {line[:40]}")
        return None
    follower, followed = int(match[1]), int(match[2])
    if follower == followed:
        rejected.add("user follows themselves", f"line {number}: {line[:40]}")
        return None
    return follower, followed


class PostParser:
    """Parses the lines of one input of posts.

    What identifies a post is its author, its created_ms and its text. If an input has several posts
    with all three alike, they are counted, and the count identifies them too. So neither the place
    of a line nor any other line matters.
    """

    def __init__(self, rejected: RejectedLines) -> None:
        """Parse the lines of an input from its beginning; `rejected` gets what cannot be used."""
        self._rejected = rejected
        # How many posts with the same author, created_ms and text there were so far.
        self._occurrences: Counter[bytes] = Counter()

    def parse(self, number: int, line: str) -> Post | None:
        """Return the post of a line, with HTML entities decoded; None for a rejected or empty line.

        Only texts that no request could carry are rejected here. Whether a text may be a tweet is
        up to the write service, whose rejections are counted like these.
        """
        if not line.strip():
            return None
        try:
            author, created_ms, text = _read_fields(line)
        except ValueError as error:
            self._rejected.add(str(error), f"line {number}: {line[:40]}")
            return None
        return Post(number, author, text, self._request_id(author, created_ms, text))

    def _request_id(self, author: int, created_ms: object, text: str) -> str:
        identity = uuid.uuid5(NAMESPACE, json.dumps([author, created_ms, text]))
        self._occurrences[identity.bytes] += 1
        return str(uuid.uuid5(identity, str(self._occurrences[identity.bytes])))


def _read_fields(line: str) -> tuple[int, object, str]:
    """Return the author, the created_ms and the text of a post.

    Raises:
        ValueError: the line cannot be used; the message is the reason.
    """
    if _has_surrogate(line):
        raise ValueError("not UTF-8")
    try:
        post = json.loads(line)
        author, text = post["author"], post["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("not a post") from None
    is_id = type(author) is int and 0 <= author <= MAX_SOURCE_ID
    if not is_id or not isinstance(text, str):
        raise ValueError("not a post")
    if _has_surrogate(text):
        raise ValueError("half a surrogate pair")
    text = html.unescape(text)
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise ValueError(f"text longer than {MAX_TEXT_BYTES:,} bytes")
    return author, post.get("created_ms"), text


def _has_surrogate(text: str) -> bool:
    # UTF-8 cannot encode a lone surrogate. isprintable() is fast, and rules it out for most lines.
    return not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text)
