"""Which metrics and labels a query in PromQL names.

This is no parser of the language. It understands what our rules and dashboards use, and promtool
says whether a query is valid at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_STRING = r'"(?:[^"\\]|\\.)*"'
_DURATIONS = re.compile(r"\[[^\]]*\]")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(
    rf"(?<![\w.:])([a-zA-Z_:][\w:]*)\s*(\(|\{{(?:[^\"{{}}]|{_STRING})*\}})?", re.DOTALL
)
_MATCHER = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({_STRING})")
_WORDS = {"and", "or", "unless", "bool", "offset", "by", "without"}


@dataclass(frozen=True)
class Matcher:
    """A condition on a label, within the braces of a selector."""

    label: str
    operator: str
    """One of =, !=, =~ and !~."""
    value: str


@dataclass(frozen=True)
class Selector:
    """A metric in a query, and the conditions on its labels."""

    metric: str
    matchers: tuple[Matcher, ...]


@dataclass(frozen=True)
class Names:
    """What a query names."""

    selectors: tuple[Selector, ...]
    grouping: frozenset[str]
    """The labels in `by (...)` and the like."""


def names_in(query: str) -> Names:
    """Return what a query names."""
    query = _DURATIONS.sub("", query)
    grouping = {
        label.strip()
        for labels in _GROUPING.findall(query)
        for label in labels.split(",")
        if label.strip()
    }
    selectors = [
        Selector(
            name,
            tuple(
                Matcher(label, operator, value[1:-1])
                for label, operator, value in _MATCHER.findall(rest)
            ),
        )
        for name, rest in _SELECTOR.findall(_GROUPING.sub(" ", query))
        if rest != "(" and name not in _WORDS
    ]
    return Names(tuple(selectors), frozenset(grouping))
