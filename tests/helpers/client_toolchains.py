"""The programs in clients/ that play the conformance story, and how each of them is built.

Each language has a function that builds its story where necessary, and returns how to run it. It
raises ToolchainMissing where the story cannot be built on this machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PYTHON, TYPESCRIPT = (
    Path(__file__).resolve().parents[2] / "clients" / name for name in ("python", "typescript")
)
# What a story prints, each as `ok STEP`.
STEPS = (
    "sign up",
    "follow",
    "post and read with the token",
    "page to the end",
    "watch sees a new tweet",
    "watch sees an edit",
    "watch sees a removal",
    "watch resumes after its connection is cut",
    "typed error",
    "deadline exceeded",
    "request_id makes a retry safe",
)
# After this step a story that cannot cut its own connections reads a line from its standard input;
# in the meantime its connections to the read service are cut.
STEP_BEFORE_CUT = "watch sees a removal"
# How npm names the reasons for which it does not reach its registry.
_NPM_OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONN", "ETIMEDOUT", "ENETUNREACH", "ERR_SOCKET")


class ToolchainMissing(Exception):  # noqa: N818 - a reason to skip, not a failure
    """The story cannot be built here; the message says what is missing."""


@dataclass(frozen=True)
class Program:
    """A program that is ready to run.

    Attributes:
        command: The program and its first arguments; the targets of the write service and of the
            read service are added.
        environment: Variables besides those of the test.
        folder: Where to run it; None for where the test runs.
        is_web: Whether the targets are URLs of the REST ports, and not host:port of the gRPC ports.
    """

    command: list[str | Path]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    is_web: bool = False


def python_program(*arguments: str | Path) -> Program:
    """Return Python with clients/python, and with these arguments."""
    path = os.pathsep.join(str(PYTHON / name) for name in ("src", "gen"))
    return Program([sys.executable, *arguments], {"PYTHONPATH": path})


def typescript_program(*arguments: str, is_web: bool = False) -> Program:
    """Return Node.js in clients/typescript, which is built before, with these arguments."""
    build_typescript()
    return Program(["node", *arguments], folder=TYPESCRIPT, is_web=is_web)


def quick_start(language: str) -> tuple[Program, str]:
    """Return a program that runs the source that is its last argument, and the README's example."""
    if language == "python":
        return python_program("-c"), (PYTHON / "quick_start.py").read_text()
    program = typescript_program("--input-type=module", "--eval")
    return program, (TYPESCRIPT / "dist" / "quick_start.js").read_text()


@cache
def build_typescript() -> None:
    """Install the packages of clients/typescript unless they are those of the lock, and compile.

    Raises:
        ToolchainMissing: Node.js is not installed, or npm does not reach its registry.
    """
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise ToolchainMissing(f"{tool} is not installed")
    with (TYPESCRIPT / "package.json").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # several processes may run tests
        _build_typescript()


def _build_typescript() -> None:
    present = _versions(TYPESCRIPT / "node_modules" / ".package-lock.json")
    if not _versions(TYPESCRIPT / "package-lock.json").items() <= present.items():
        installed = _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        if installed.returncode != 0:
            if any(word in installed.stderr for word in _NPM_OFFLINE):
                raise ToolchainMissing(f"npm does not reach its registry: {installed.stderr}")
            raise AssertionError(installed.stderr)
    built = _run("npm", "run", "build")
    assert built.returncode == 0, built.stdout + built.stderr


def _versions(lock: Path) -> dict[str, str]:
    """Return the versions in a lock of npm, by folder; none if there is no lock.

    Optional packages are left out, since each is for one kind of machine.
    """
    if not lock.exists():
        return {}
    packages = json.loads(lock.read_text())["packages"]
    return {
        folder: package["version"]
        for folder, package in packages.items()
        if folder and not package.get("optional")
    }


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=TYPESCRIPT, capture_output=True, text=True, check=False, timeout=240
    )


STORIES: dict[str, Callable[[], Program]] = {
    "python": lambda: python_program(PYTHON / "story.py"),
    "python-asyncio": lambda: python_program(PYTHON / "story_asyncio.py"),
    "typescript": lambda: typescript_program("dist/story.js", "node"),
    "typescript-web": lambda: typescript_program("dist/story.js", "web", is_web=True),
}
