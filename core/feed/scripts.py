"""Loads the Lua scripts for Redis, which are .lua files beside this module."""

from __future__ import annotations

from importlib import resources


def load_script(name: str) -> str:
    """Return the code of a .lua file; name: the file's name without the suffix.

    Comments and indentation are left out, since every EVAL sends the whole script. Each comment
    must be on a line of its own.
    """
    text = resources.files("core.feed").joinpath(f"{name}.lua").read_text()
    lines = [line.strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("--"))
