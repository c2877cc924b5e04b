"""Fields of a log line whose names are not known when the line is written."""

from __future__ import annotations

import json
import re

_PLAIN = re.compile(r"""[^\s"'=]+""")


class Fields(dict[str, str | int | float]):
    """Prints as `name=value name=value`; in the log as JSON, each is a field of its own."""

    def __str__(self) -> str:
        return " ".join(f"{name}={_printed(value)}" for name, value in self.items())


def _printed(value: str | float) -> str:
    """Return a value without any space, unless it is in quotes."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
