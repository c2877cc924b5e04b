"""What `fanfare verify` refuses."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from cli.main import cli


@pytest.mark.parametrize("sample", ["0", "-1"])
def test_a_sample_of_nobody_is_refused(sample: str) -> None:
    """A sample of nobody is refused, since comparing nothing would look like success."""
    refused = CliRunner().invoke(cli, ["verify", "--sample", sample])
    assert refused.exit_code == 2
    assert "--sample" in refused.output
