"""Texts that others have written, made safe to print.

A tweet, an error or a header may contain escape sequences, which would control the terminal, and
marks that change the direction of what is written beside them. Such characters are printed as
Python writes them in a string.
"""

from __future__ import annotations

import unicodedata

# Control characters, formatting characters (such as those of the direction of text), and separators
# of lines and paragraphs. Surrogates cannot be encoded.
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# The joiners inside emoji and inside words of some languages change nothing outside of these.
_JOINERS = {"\u200c", "\u200d"}


def one_line(text: str) -> str:
    """Return a text as one line that changes nothing of its surroundings but its own width."""
    return "".join(map(_visible, text))


def lines(text: str) -> list[str]:
    """Return the lines of a text, each as one_line() does."""
    return [one_line(line) for line in text.split("\n")]


def _visible(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode()
