"""The Connect clients that are generated for Go, against the read service's REST port."""

from __future__ import annotations

import subprocess

import pytest
from helpers.client_toolchains import ToolchainMissing
from helpers.client_toolchains_go_java import go_build
from helpers.fanfare import Fanfare

_STEPS = ["ok query", "ok typed error", "ok stream"]


def test_the_generated_connect_clients(fanfare: Fanfare) -> None:
    """Queries, typed errors and streams, over Connect in binary and JSON and over gRPC-Web."""
    try:
        program = go_build("./story/connect", "connect")
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    author = fanfare.user()
    reader = fanfare.user(author)
    fanfare.tweets(author, 1)
    fanfare.wait_drained()
    url = f"http://127.0.0.1:{fanfare.settings.rest_read_port}"
    ran = subprocess.run(
        [program, url, str(reader.id)], capture_output=True, text=True, check=False, timeout=100
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [*_STEPS * 3, "ok GET"]
