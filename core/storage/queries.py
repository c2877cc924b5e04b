"""Named SQL: one .sql file beside the store that runs it."""

from __future__ import annotations

import re
from importlib import resources
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(package: str) -> dict[str, LiteralString]:
    """Return the statements of the package's queries.sql by the names in their `-- name:` lines."""
    text = resources.files(package).joinpath("queries.sql").read_text()
    parts = _NAME.split(text)[1:]
    # The text is the project's own file, as literal as a string in the code.
    return {
        name: cast("LiteralString", sql.strip())
        for name, sql in zip(parts[::2], parts[1::2], strict=True)
    }
