"""How the programs of clients/go and clients/java are built; see client_toolchains."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from helpers.client_toolchains import Program, ToolchainMissing

from clients.generate import go
from clients.generate.contract import ROOT
from clients.generate.java_build import class_path
from embedded.errors import StackError

GO_CLIENT = ROOT / "clients" / "go"
PROGRAMS = ROOT / ".fanfare" / "clients" / "go"
BUILD_SECONDS = 240
# A short program ends sooner without the optimising compiler.
JAVA = ("java", "-XX:TieredStopAtLevel=1")
# How the go command names the reasons for which it does not reach the module proxy.
_GO_OFFLINE = ("dial tcp", "no such host", "i/o timeout", "connection refused", "connection reset")


def _need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            raise ToolchainMissing(f"{tool} is not installed")


def run_go(*arguments: str | Path, folder: Path = GO_CLIENT) -> str:
    """Run the go command in clients/go, and return what it prints.

    Raises:
        ToolchainMissing: go is not installed, or cannot fetch the pinned modules.
    """
    _need("go")
    environment = {**os.environ, "GOFLAGS": go.GOFLAGS}
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    with (PROGRAMS / "lock").open("w") as file:
        # Several processes may run tests, and each would compile the same modules.
        fcntl.flock(file, fcntl.LOCK_EX)
        ran = subprocess.run(
            ["go", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
    if ran.returncode != 0 and any(word in ran.stderr for word in _GO_OFFLINE):
        raise ToolchainMissing(f"go cannot fetch modules: {ran.stderr}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def go_build(package: str, name: str) -> Path:
    """Return the path of a program of clients/go. Go compiles only what has changed."""
    program = PROGRAMS / name
    run_go("build", "-o", program, package)
    return program


def go_program() -> Program:
    """Return the story of clients/go."""
    return Program([go_build("./story", "story")])


@functools.cache
def java_class_path() -> str:
    """Return the class path of clients/java, its tests and its story.

    Raises:
        ToolchainMissing: The JDK is not installed, or the pinned jars cannot be fetched.
    """
    _need("java", "javac")
    try:
        return class_path()
    except StackError as error:
        raise ToolchainMissing(str(error)) from error


def java_program() -> Program:
    """Return the story of clients/java."""
    return _java("dev.fanfare.story.Story")


def _java(main: str) -> Program:
    return Program([*JAVA, "-cp", java_class_path(), main])


STORIES: dict[str, Callable[[], Program]] = {"go": go_program, "java": java_program}
SESSION_STORIES: dict[str, Callable[[], Program]] = {
    "go": lambda: Program([go_build("./story/session", "session")]),
    "java": lambda: _java("dev.fanfare.story.SessionStory"),
}
