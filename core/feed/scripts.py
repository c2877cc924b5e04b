"""Loads the Lua scripts for Redis, which are .lua files beside this module."""

from __future__ import annotations

from importlib import resources


def load_script(*names: str) -> str:
    """Return the code of one or more .lua files, joined in this order.

    Comments and indentation are left out, since every EVAL sends the whole script. Each comment
    must be on a line of its own.

    Args:
        names: the files' names without the suffix: first those with shared functions, then the
            script that uses them.
    """
    files = resources.files("core.feed")
    lines = [
        line.strip()
        for name in names
        for line in files.joinpath(f"{name}.lua").read_text().splitlines()
    ]
    return "\n".join(line for line in lines if line and not line.startswith("--"))
