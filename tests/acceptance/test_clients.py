"""The clients in clients/, against a running system: each plays the same story."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from contextlib import suppress

import pytest
from helpers import client_toolchains, client_toolchains_go_java
from helpers.client_toolchains import STEP_BEFORE_CUT, STEPS, Program, ToolchainMissing
from helpers.fanfare import Fanfare
from helpers.silent_proxy import HOST, SilentProxy

STORIES = client_toolchains.STORIES | client_toolchains_go_java.STORIES
_TIMEOUT_SECONDS = 120


@pytest.mark.parametrize("language", STORIES)
def test_the_story_is_the_same_in_every_language(language: str, fanfare: Fanfare) -> None:
    """A client signs up, follows, posts, reads, pages, watches across a cut, and sees errors."""
    try:
        program = STORIES[language]()
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    settings = fanfare.settings
    read_port = settings.rest_read_port if program.is_web else settings.read_port
    with SilentProxy(read_port) as proxy:
        targets = [settings.write_service_target(), f"{HOST}:{proxy.port}"]
        if program.is_web:
            targets = [f"http://{HOST}:{settings.rest_write_port}", f"http://{targets[1]}"]
        assert _play(program, targets, proxy) == [f"ok {step}" for step in STEPS]


@pytest.mark.parametrize("language", ["python", "typescript"])
def test_the_quick_start_runs(language: str, fanfare: Fanfare) -> None:
    """The example of the README posts a tweet, and shows it in a timeline."""
    author = fanfare.user()
    reader = fanfare.user(author)
    values = {
        "127.0.0.1:50051": fanfare.settings.write_service_target(),
        "127.0.0.1:50052": fanfare.settings.read_service_target(),
        "user_id=2": f"user_id={author.id}",
        "user_id=1": f"user_id={reader.id}",
        "userId: 2n": f"userId: {author.id}n",
        "watch(1n": f"watch({reader.id}n",
    }
    try:
        program, source = client_toolchains.quick_start(language)
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    example = "|".join(map(re.escape, values))
    source = re.sub(example, lambda found: values[found[0]], source)
    with _started(program, source) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        running.kill()
    assert "Hello from" in line


def _started(program: Program, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*program.command, *arguments],
        cwd=program.folder,
        env=dict(os.environ) | program.environment | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _play(program: Program, targets: list[str], proxy: SilentProxy) -> list[str]:
    """Run a story, cut its connections when it says so, and return the lines that it printed."""
    lines: list[str] = []
    opened = proxy.opened
    with _started(program, *targets) as story:
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
