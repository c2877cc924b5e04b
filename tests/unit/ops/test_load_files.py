"""The files of `fanfare load`: what is read from them, and which lines are rejected."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.load_files import RejectedLines, match_authors, parse_follow, parse_post, read_lines


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 1", "user follows themselves"),
        ("1", "not two user ids"),
        ("1 2 3", "not two user ids"),
        ("1 x", "not two user ids"),
        ("-1 2", "not two user ids"),
        ("1 \u0662", "not two user ids"),
        ("1 " + "9" * 32, "not two user ids"),
        ("1 " + "9" * 5000, "not two user ids"),
    ],
)
def test_a_line_that_is_no_follow_is_rejected_with_its_reason(line: str, reason: str) -> None:
    """A rejected line is counted by its reason, and its number is in the example."""
    rejected = RejectedLines()
    assert parse_follow(7, line, rejected) is None
    assert rejected.counts == {reason: 1}
    assert "line 7" in rejected.examples[reason][0]


def test_empty_lines_and_comments_are_skipped() -> None:
    """A follow is parsed; an empty line and a comment are skipped and do not count as rejected."""
    rejected = RejectedLines()
    assert parse_follow(1, "12 34", rejected) == (12, 34)
    assert parse_follow(2, "", rejected) is parse_follow(3, "# edges", rejected) is None
    assert not rejected.counts


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "null", '{"author": 1}', '{"author": "1", "text": "x"}', "[" * 99_999]
)
def test_a_line_that_is_no_post_is_rejected(line: str) -> None:
    """A line with broken JSON or without the fields of a post is rejected, not fatal."""
    rejected = RejectedLines()
    assert parse_post(3, line, rejected) is None
    assert rejected.counts == {"not a post": 1}


def test_half_a_surrogate_pair_is_rejected() -> None:
    """A text that cannot be encoded as UTF-8 is rejected."""
    rejected = RejectedLines()
    assert parse_post(1, '{"author": 1, "text": "\\ud83d"}', rejected) is None
    assert rejected.counts == {"half a surrogate pair": 1}


def test_a_text_that_no_request_could_carry_is_rejected() -> None:
    """The limit counts the bytes of the text after its HTML entities are decoded."""
    rejected = RejectedLines()
    assert parse_post(1, json.dumps({"author": 1, "text": "\u00e9" * 4097}), rejected) is None
    assert rejected.counts == {"text longer than 8,192 bytes": 1}
    assert parse_post(2, json.dumps({"author": 1, "text": "&amp;" * 8192}), rejected) is not None


def test_examples_have_no_control_characters() -> None:
    """Escape sequences in a rejected line do not reach the terminal."""
    rejected = RejectedLines()
    assert parse_follow(1, "\x1b[2J \u202e x", rejected) is None
    (example,) = rejected.examples["not two user ids"]
    assert example.isprintable()


def test_a_line_gets_the_same_request_id_whenever_it_is_loaded() -> None:
    """The request_id depends only on the line and its number; HTML entities are decoded."""
    line = json.dumps({"author": 5, "created_ms": 1, "text": "a &amp; b"})
    first, again = parse_post(1, line, RejectedLines()), parse_post(1, line, RejectedLines())
    other = parse_post(2, line, RejectedLines())
    assert first is not None
    assert other is not None
    assert first == again
    assert (first.author, first.text) == (5, "a & b")
    assert first.request_id != other.request_id


def test_the_busiest_author_becomes_the_most_followed_user() -> None:
    """Authors are matched to users by rank, ties by id; surplus authors are left out."""
    posts = Counter({1: 5, 2: 9, 3: 5, 4: 1})
    followers = Counter({10: 0, 11: 7, 12: 7})
    assert match_authors(posts, followers) == {2: 11, 1: 12, 3: 10}


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))))
def test_gzipped_and_plain_files_read_alike(lines: list[str]) -> None:
    """A gzipped file yields the same numbered lines as a plain one."""
    text = "".join(f"{line}\n" for line in lines).encode()
    assert list(_read(text, ".txt")) == list(_read(gzip.compress(text), ".gz"))
    assert [line for _, line in _read(text, ".txt")] == lines


@pytest.mark.parametrize("harm", ["cut", "flipped", "plain"])
def test_a_broken_gzip_is_an_error_of_the_file_and_names_it(harm: str, tmp_path: Path) -> None:
    """A truncated or corrupt file raises an OSError with its name, as a missing file does."""
    whole = bytearray(gzip.compress(random.Random(1).randbytes(100_000)))
    if harm == "cut":
        del whole[50_000:]
    elif harm == "flipped":
        whole[50_000:50_010] = bytes(10)
    else:
        whole[:2] = b"1 "
    path = tmp_path / "broken.gz"
    path.write_bytes(whole)
    with pytest.raises(OSError, match=r"broken\.gz is not a gzip file, or is damaged"):
        list(read_lines(path, lambda _: None))


def _read(content: bytes, suffix: str) -> list[tuple[int, str]]:
    # Not tmp_path, because all of Hypothesis's examples would share that folder.
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(content)
        file.flush()
        return list(read_lines(Path(file.name), lambda _: None))
