"""The programs in clients/ that play the conformance story, and how each of them is built.

Each language has a function that builds its story where necessary, and returns how to run it. It
raises ToolchainMissing where the story cannot be built on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

CLIENTS = Path(__file__).resolve().parents[2] / "clients"
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
# After this step a story that cannot cut its own connections reads a line from its standard input; in
# the meantime its connections to the read service are cut.
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
        is_web: Whether the targets are URLs of the REST ports instead of host:port of the gRPC ports.
    """

    command: list[str | Path]
    environment: dict[str, str] = field(default_factory=dict)
    is_web: bool = False


def python_program(name: str) -> Program:
    """Return a program of clients/python."""
    folder = CLIENTS / "python"
    path = os.pathsep.join(str(folder / name) for name in ("src", "gen"))
    return Program([sys.executable, folder / name], {"PYTHONPATH": path})


def typescript_program(name: str, *, is_web: bool = False) -> Program:
    """Return a program of clients/typescript, compiled."""
    build_typescript()
    mode = "web" if is_web else "node"
    return Program(["node", CLIENTS / "typescript" / "dist" / name, mode], is_web=is_web)


def build_typescript() -> None:
    """Install the packages of clients/typescript unless they are those of the lock, and compile."""
    folder = CLIENTS / "typescript"
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise ToolchainMissing(f"{tool} is not installed")
    if _installed(folder / "node_modules" / ".package-lock.json") != _installed(
        folder / "package-lock.json"
    ):
        installed = _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
        if installed.returncode != 0:
            if any(word in installed.stderr for word in _NPM_OFFLINE):
                raise ToolchainMissing(f"npm does not reach its registry: {installed.stderr}")
            raise AssertionError(installed.stderr)
    built = _run("npm", "run", "build", folder=folder)
    assert built.returncode == 0, built.stdout + built.stderr


def _installed(lock: Path) -> dict[str, str]:
    """Return the versions of the packages in a lock of npm, by folder; none if there is no lock."""
    if not lock.exists():
        return {}
    packages = json.loads(lock.read_text())["packages"]
    return {name: each["version"] for name, each in packages.items() if name and "version" in each}


def _run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=240
    )


STORIES: dict[str, Callable[[], Program]] = {
    "python": lambda: python_program("story.py"),
    "python-asyncio": lambda: python_program("story_asyncio.py"),
    "typescript": lambda: typescript_program("story.js"),
}
