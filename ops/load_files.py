"""Reads the files of `fanfare load`: follows and posts, line by line.

The formats are those of the project's example data. A follow is a line `A B`: A follows B. A post
is a line with a JSON object that has `author`, `created_ms` and `text`. Lines that cannot be used
are counted and skipped.
"""

from __future__ import annotations

import gzip
import html
import json
import re
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

# How many rejected lines are shown for each reason.
EXAMPLES = 3
# An imported user is named u<id>, and a username has at most 32 characters.
SOURCE_ID = re.compile(r"[0-9]{1,31}")
# The longest content that the write service accepts, before it normalises it. Checked here too,
# because a longer text may not even fit into a request.
MAX_TEXT_BYTES = 8192
# Namespace of the request_ids: loading a line again repeats the same request.
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
    """Derived from the line, so that loading it again creates no second tweet."""


def read_lines(path: Path, advance: Callable[[int], object]) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line of a file, gzipped if its name ends in .gz.

    Args:
        path: the file.
        advance: called now and then with the number of bytes read from disk since the last call.

    Raises:
        OSError: the file cannot be read, or is a damaged or truncated gzip file.
    """
    with path.open("rb") as raw:
        lines = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        seen = 0
        try:
            for number, line in enumerate(lines, 1):
                yield number, line.decode("utf-8", errors="replace").rstrip("\r\n")
                if number % 1000 == 0:
                    advance(raw.tell() - seen)
                    seen = raw.tell()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            # Click would take an EOFError for Ctrl-D.
            raise OSError(f"{path} is not a gzip file, or is damaged: {error}") from error


def parse_follow(number: int, line: str, rejected: RejectedLines) -> tuple[int, int] | None:
    """Return (follower, followed) of a line; None for a rejected, empty or comment line."""
    if not line.strip() or line.startswith("#"):
        return None
    parts = line.split()
    if len(parts) != 2 or not all(SOURCE_ID.fullmatch(part) for part in parts):
        rejected.add("not two user ids", f"line {number}: {line[:40]}")
        return None
    follower, followed = int(parts[0]), int(parts[1])
    if follower == followed:
        rejected.add("user follows themselves", f"line {number}: {line[:40]}")
        return None
    return follower, followed


def parse_post(number: int, line: str, rejected: RejectedLines) -> Post | None:
    """Return the post of a line, with HTML entities decoded; None for a rejected line.

    Only texts that no request could carry are rejected here. Whether a text may be a tweet is up
    to the write service, whose rejections are counted like these.
    """
    try:
        post = json.loads(line)
        author, text = post["author"], post["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        rejected.add("not a post", f"line {number}: {line[:40]}")
        return None
    if type(author) is not int or not isinstance(text, str):
        rejected.add("not a post", f"line {number}: {line[:40]}")
        return None
    # UTF-8 cannot encode a lone surrogate. isprintable() is fast, and rules it out for most lines.
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        rejected.add("half a surrogate pair", f"line {number}")
        return None
    text = html.unescape(text)
    if len(text.encode()) > MAX_TEXT_BYTES:
        rejected.add(f"text longer than {MAX_TEXT_BYTES:,} bytes", f"line {number}: {text[:40]}")
        return None
    request_id = uuid.uuid5(NAMESPACE, f"{number} {line}")
    return Post(number, author, text, str(request_id))


def match_authors(posts_by_author: Counter[int], followers_by_user: Counter[int]) -> dict[int, int]:
    """Match each author of the posts file to the user of the follows file who gets the posts.

    The two files may come from different sources, so authors are matched to users by rank: the
    author with the most posts becomes the user with the most followers, and so on; ties are
    broken by id. If there are more authors than users, the rest are left out.
    """
    authors = sorted(posts_by_author, key=lambda author: (-posts_by_author[author], author))
    users = sorted(followers_by_user, key=lambda user: (-followers_by_user[user], user))
    return dict(zip(authors, users, strict=False))
