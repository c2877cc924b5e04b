"""Types of arguments that several commands have."""

from __future__ import annotations

from typing import Any

import click

MAX_ID = 2**63 - 1
USER_ID = click.IntRange(min=1, max=MAX_ID)


class _Utf8(click.ParamType[str]):
    """A text; bytes of the command line that are not UTF-8 are refused."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        try:
            str(value).encode()
        except UnicodeEncodeError:
            self.fail("it is not UTF-8.", param, ctx)
        return str(value)


UTF8 = _Utf8()
