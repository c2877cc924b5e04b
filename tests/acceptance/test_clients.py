"""The clients in clients/, against a running system: each plays the same story."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from helpers.client_toolchains import STEP_BEFORE_CUT, STEPS, STORIES, Program, ToolchainMissing
from helpers.fanfare import Fanfare
from helpers.silent_proxy import HOST, SilentProxy

_TIMEOUT_SECONDS = 120


@pytest.fixture(scope="module")
def read_proxy(fanfare: Fanfare) -> Iterator[SilentProxy]:
    """Return a proxy before the read service's gRPC port, which can cut connections."""
    with SilentProxy(fanfare.settings.read_port) as proxy:
        yield proxy


@pytest.mark.parametrize("language", STORIES)
def test_the_story_is_the_same_in_every_language(
    language: str, fanfare: Fanfare, read_proxy: SilentProxy
) -> None:
    """A client signs up, follows, posts, reads, pages, watches across a cut, and sees errors."""
    try:
        program = STORIES[language]()
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    assert _play(program, fanfare, read_proxy) == [f"ok {step}" for step in STEPS]


def _play(program: Program, fanfare: Fanfare, proxy: SilentProxy) -> list[str]:
    """Run a story, cut its connections when it says so, and return the lines that it printed."""
    command = [*program.command, fanfare.settings.write_service_target(), f"{HOST}:{proxy.port}"]
    lines: list[str] = []
    opened = proxy.opened
    with subprocess.Popen(
        command,
        env=dict(os.environ) | program.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as story:
        timer = threading.Timer(_TIMEOUT_SECONDS, story.kill)
        timer.start()
        assert story.stdin is not None
        assert story.stdout is not None
        for line in story.stdout:
            lines.append(line.strip())
            if lines[-1] == f"ok {STEP_BEFORE_CUT}":
                opened = proxy.opened
                proxy.cut()
                with suppress(BrokenPipeError):  # a story need not wait
                    story.stdin.write("cut\n")
                    story.stdin.flush()
        timer.cancel()
    assert story.returncode == 0
    assert proxy.opened > opened, "the story did not connect again"
    return lines
