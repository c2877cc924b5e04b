"""`fanfare admin` without a server."""

from __future__ import annotations

import os

from click.testing import CliRunner

from cli.main import cli


def test_a_username_that_is_not_utf8_is_refused() -> None:
    """Before Postgres is asked, whose driver would raise an error of its own."""
    result = CliRunner().invoke(cli, ["admin", os.fsdecode(b"\xff")])
    assert result.exit_code == 2
    assert "Invalid value for 'USERNAME': it is not UTF-8." in result.output
