"""What the files of a community say, line by line, and which lines are refused.

The formats are those of the project's example data: follow edges as `A B` (A follows B), posts as
one JSON object a line with `author`, `created_ms` and `text`.
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

EXAMPLES = 3
# A user here is named u<id>, and names have at most 32 characters.
SOURCE_ID = re.compile(r"[0-9]{1,31}")
# The contract's bound. Judged here already, as a longer text may not even fit into a request.
MAX_TEXT_BYTES = 8192
# Names the posts' request_ids: a line that is loaded again is the same request.
NAMESPACE = uuid.UUID("6f0d5f2e-6a3a-4d53-9d5c-3c1a52c7a4a6")


@dataclass
class Rejects:
    """The lines that were refused: how many for each reason, and the first few of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        """Count a refused line; control characters of a file never reach a terminal."""
        self.counts[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append("".join(c if c.isprintable() else " " for c in where))


@dataclass(frozen=True)
class Post:
    """A post: its author as the file numbers them, its text, and the id of its loading."""

    line: int
    author: int
    text: str
    request_id: str


def read_lines(path: Path, advance: Callable[[int], object]) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of a file, gzipped or plain; advance is told the bytes read from disk.

    Raises OSError for a file that cannot be read, also for a gzip that is damaged or cut short.
    """
    with path.open("rb") as raw:
        stream = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        seen = 0
        try:
            for number, line in enumerate(stream, 1):
                yield number, line.decode("utf-8", errors="replace").rstrip("\r\n")
                if number % 1000 == 0:
                    advance(raw.tell() - seen)
                    seen = raw.tell()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            # EOFError, left alone, is to click as if somebody had pressed Ctrl-D.
            raise OSError(f"{path} is no gzip, or damaged: {error}") from error


def parse_follow(number: int, line: str, rejects: Rejects) -> tuple[int, int] | None:
    """Return (follower, followed) of a line, or None for one that is refused or empty."""
    if not line.strip() or line.startswith("#"):
        return None
    parts = line.split()
    if len(parts) != 2 or not all(SOURCE_ID.fullmatch(part) for part in parts):
        rejects.add("not two user ids", f"line {number}: {line[:40]}")
        return None
    follower, followed = int(parts[0]), int(parts[1])
    if follower == followed:
        rejects.add("a self-follow", f"line {number}: {line[:40]}")
        return None
    return follower, followed


def parse_post(number: int, line: str, rejects: Rejects) -> Post | None:
    """Return the post of a line, or None for one that is refused.

    HTML entities become the characters they stand for. What a tweet may say is judged by the write
    service, whose refusals are counted with the others; only texts far too long are refused here.
    """
    try:
        post = json.loads(line)
        author, text = post["author"], post["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        rejects.add("not a post", f"line {number}: {line[:40]}")
        return None
    if type(author) is not int or not isinstance(text, str):
        rejects.add("not a post", f"line {number}: {line[:40]}")
        return None
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        rejects.add("half a surrogate pair", f"line {number}")
        return None
    text = html.unescape(text)
    if len(text.encode()) > MAX_TEXT_BYTES:
        rejects.add(f"a text of more than {MAX_TEXT_BYTES:,} bytes", f"line {number}: {text[:40]}")
        return None
    request_id = uuid.uuid5(NAMESPACE, f"{number} {line}")
    return Post(number, author, text, str(request_id))


def by_rank(posts_by_author: Counter[int], followers_by_user: Counter[int]) -> dict[int, int]:
    """Return, for each author of posts, the user of the graph who stands for them.

    The two come from different sources, so this is a construction: whoever posts most becomes
    the user with the most followers, and so on down; equals by their ids. Authors beyond the
    users are left out.
    """
    authors = sorted(posts_by_author, key=lambda author: (-posts_by_author[author], author))
    users = sorted(followers_by_user, key=lambda user: (-followers_by_user[user], user))
    return dict(zip(authors, users, strict=False))
