"""Loads the named SQL statements of a package from its queries.sql."""

from __future__ import annotations

import re
from importlib import resources
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(package: str) -> dict[str, LiteralString]:
    """Return the statements in the queries.sql of a package, by name.

    The line `-- name: <name>` before each statement names it.
    """
    text = resources.files(package).joinpath("queries.sql").read_text()
    parts = _NAME.split(text)[1:]
    # psycopg takes literal strings only, to prevent SQL injection. This file is part of the code.
    return {
        name: cast("LiteralString", sql.strip())
        for name, sql in zip(parts[::2], parts[1::2], strict=True)
    }
