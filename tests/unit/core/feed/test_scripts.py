"""Loading Lua scripts."""

from __future__ import annotations

from importlib import resources

import pytest

from core.feed.scripts import load_script

SCRIPTS = [
    file.name for file in resources.files("core.feed").iterdir() if file.name.endswith(".lua")
]


def test_comments_and_indentation_are_left_out() -> None:
    """Redis gets the code alone, line by line."""
    assert load_script("abandon_build").splitlines() == [
        "if redis.call('LINDEX', KEYS[1], -1) ~= 'B' .. ARGV[1] then return 0 end",
        "return redis.call('DEL', KEYS[1])",
    ]


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_comment_is_left_in_a_script(name: str) -> None:
    """load_script() removes only comments on their own lines, so the files must have no others."""
    assert "--" not in load_script(name.removesuffix(".lua"))
