"""What others have written cannot change what is printed beside it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.texts import lines, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
        ("a\u202eb\u2066c\u200fd", r"a\u202eb\u2066c\u200fd"),
        ("a\u2028b\rc\x85d\x9b31m", r"a\u2028b\rc\x85d\x9b31m"),
        ("two\nlines\t", r"two\nlines\t"),
        ("\U000e0041", r"\U000e0041"),
        ("漢字 العربية \U0001f600 é", "漢字 العربية \U0001f600 é"),
        ("\U0001f468\u200d\U0001f33e", "\U0001f468\u200d\U0001f33e"),
    ],
)
def test_characters_that_control_are_escaped(text: str, shown: str) -> None:
    """Letters, also those from right to left, and joined emoji are as they were written."""
    assert one_line(text) == shown


@given(st.text())
def test_no_control_is_left(text: str) -> None:
    """Whatever the text, its lines have no character that controls or hides."""
    shown = lines(text)
    assert len(shown) == text.count("\n") + 1
    for character in "".join(shown).replace("\u200c", "").replace("\u200d", ""):
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
