"""Loads the named SQL statements of a package from its queries.sql."""

from __future__ import annotations

import re
from importlib import resources
from typing import LiteralString

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_INCLUDE = re.compile(r"^ *-- include: (\w+)$", re.MULTILINE)


def load_queries(package: str) -> dict[str, LiteralString]:
    """Return the statements in the queries.sql of a package, by name.

    The line `-- name: <name>` before each statement names it. A line `-- include: <name>` in a
    statement stands for the text of that name.
    """
    text = resources.files(package).joinpath("queries.sql").read_text()
    _, *parts = _NAME.split(text)
    named = {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}
    # psycopg takes literal strings only, to prevent SQL injection. This file is part of the code.
    return {name: _INCLUDE.sub(lambda found: named[found[1]], sql) for name, sql in named.items()}
