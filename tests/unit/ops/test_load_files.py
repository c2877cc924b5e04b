"""The lines of `fanfare load`: what is read from them, and which are rejected."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.load_files import Post, PostParser, RejectedLines, parse_follow


def _parse(number: int, line: str, rejected: RejectedLines) -> Post | None:
    return PostParser(rejected).parse(number, line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 1", "user follows themselves"),
        ("1", "not two user ids"),
        ("1 2 3", "not two user ids"),
        ("1 x", "not two user ids"),
        ("1,,2", "not two user ids"),
        ("1;2", "not two user ids"),
        ("follower,followed", "not two user ids"),
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


@pytest.mark.parametrize("line", ["12 34", "12\t34", "12,34", " 12 , 34 ", "12, 34", "012  34\t"])
def test_a_space_a_tab_or_a_comma_separates_two_ids(line: str) -> None:
    """These are the forms in which edges are usually stored."""
    assert parse_follow(1, line, RejectedLines()) == (12, 34)


def test_empty_lines_and_comments_are_skipped() -> None:
    """A follow is parsed; an empty line and a comment are skipped and do not count as rejected."""
    rejected = RejectedLines()
    assert parse_follow(1, "12 34", rejected) == (12, 34)
    assert parse_follow(2, "", rejected) is parse_follow(3, "# edges", rejected) is None
    assert not rejected.counts


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "null",
        '{"author": 1}',
        '{"author": "1", "text": "x"}',
        '{"author": -1, "text": "x"}',
        '{"author": 1.0, "text": "x"}',
        '{"author": true, "text": "x"}',
        '{"author": 1%s, "text": "x"}' % ("0" * 31),
        "[" * 99_999,
    ],
)
def test_a_line_that_is_no_post_is_rejected(line: str) -> None:
    """A line with broken JSON or without the fields of a post is rejected, not fatal."""
    rejected = RejectedLines()
    assert _parse(3, line, rejected) is None
    assert rejected.counts == {"not a post": 1}


def test_half_a_surrogate_pair_is_rejected() -> None:
    """A text that cannot be encoded as UTF-8 is rejected."""
    rejected = RejectedLines()
    assert _parse(1, '{"author": 1, "text": "\\ud83d"}', rejected) is None
    assert rejected.counts == {"half a surrogate pair": 1}


def test_a_text_that_no_request_could_carry_is_rejected() -> None:
    """The limit counts the bytes of the text after its HTML entities are decoded."""
    rejected = RejectedLines()
    assert _parse(1, json.dumps({"author": 1, "text": "\u00e9" * 4097}), rejected) is None
    assert rejected.counts == {"text longer than 8,192 bytes": 1}
    assert _parse(2, json.dumps({"author": 1, "text": "&amp;" * 8192}), rejected) is not None


def test_examples_have_no_control_characters() -> None:
    """Escape sequences in a rejected line do not reach the terminal."""
    rejected = RejectedLines()
    assert parse_follow(1, "\x1b[2J \u202e x", rejected) is None
    (example,) = rejected.examples["not two user ids"]
    assert example.isprintable()


def test_a_line_with_bytes_that_are_not_utf_8_is_rejected() -> None:
    """The text is not loaded with other characters in their place."""
    rejected = RejectedLines()
    line = b'{"author": 1, "text": "caf\xe9"}'.decode(errors="surrogateescape")
    assert _parse(1, line, rejected) is None
    assert rejected.counts == {"not UTF-8": 1}


def test_html_entities_are_decoded() -> None:
    """An empty line is skipped."""
    parser = PostParser(RejectedLines())
    post = parser.parse(1, json.dumps({"author": 5, "created_ms": 1, "text": "a &amp; b"}))
    assert post is not None
    assert (post.author, post.text) == (5, "a & b")
    assert parser.parse(2, " ") is None


POSTS = st.tuples(st.integers(0, 3), st.sampled_from([None, 1, 2]), st.sampled_from(["a", "b"]))


def _load(tweets: dict[str, tuple[int, str]], posts: Iterable[tuple[int, int | None, str]]) -> None:
    """Load posts as the write service does, which keeps the first answer of a request_id."""
    parser = PostParser(RejectedLines())
    for number, (author, created_ms, text) in enumerate(posts, 1):
        fields = {"author": author, "text": text, "created_ms": created_ms}
        post = parser.parse(number, json.dumps(fields))
        assert post is not None
        tweets.setdefault(post.request_id, (post.author, post.text))


@given(st.lists(POSTS, max_size=30), st.data())
def test_what_was_loaded_before_makes_no_difference(
    posts: list[tuple[int, int | None, str]], data: st.DataObject
) -> None:
    """A part first and then the whole, in any order, gives what the whole gives alone."""
    alone: dict[str, tuple[int, str]] = {}
    _load(alone, posts)
    assert len(alone) == len(posts)
    assert sorted(alone.values()) == sorted((author, text) for author, _, text in posts)
    grown: dict[str, tuple[int, str]] = {}
    chosen = data.draw(st.lists(st.booleans(), min_size=len(posts), max_size=len(posts)))
    part = [post for post, is_chosen in zip(posts, chosen, strict=True) if is_chosen]
    _load(grown, data.draw(st.permutations(part)))
    _load(grown, data.draw(st.permutations(posts)))
    assert grown == alone


def test_the_same_post_in_another_spelling_is_the_same_post() -> None:
    """White space, the order of the fields and further fields do not matter."""
    spellings = [
        '{"author":1,"created_ms":2,"text":"&lt;"}',
        '{ "text": "<", "created_ms": 2, "author": 1, "id": 7 }',
        '{"author": 1, "created_ms": 2, "text": "\\u003c"}',
    ]
    posts = [_parse(9, line, RejectedLines()) for line in spellings]
    assert len({post.request_id for post in posts if post is not None}) == 1
    assert None not in posts
