"""Run the processes of an earlier release of Fanfare, with the packages of this one.

Its code is taken from git, so there must be the history and the tags of the repository.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from helpers.replacement import PACKAGES

from core.settings import PREFIX
from core.settings_loading import SECRETS_DIR
from embedded.server import ServerProcess
from ops.system import System

ROOT = Path(__file__).parents[2]
# Names any commit to take instead of the newest earlier release.
VARIABLE = "FORMER_RELEASE"
_RELEASE = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_MIGRATE = "from cli.main import main; main()"
_SETTINGS = "from core.settings import Settings; print(*Settings.model_fields)"


def former_revision(repository: Path = ROOT) -> str:
    """Return the tag of the newest release before this code; skip the test if there is none."""
    if given := os.environ.get(VARIABLE):
        return given
    git = partial(_git, repository)
    if git("rev-parse", "--git-dir") is None:
        pytest.skip("no earlier release: this is not a clone of the repository")
    tags = (git("tag", "--merged", "HEAD") or "").split()
    current = (git("tag", "--points-at", "HEAD") or "").split()
    releases = [tag for tag in tags if _RELEASE.fullmatch(tag) and tag not in current]
    if not releases:
        shallow = git("rev-parse", "--is-shallow-repository") == "true"
        pytest.skip(
            "no earlier release: this clone is shallow; run git fetch --unshallow --tags"
            if shallow
            else "no earlier release: no commit before this one has the tag of a release"
        )
    return max(releases, key=_version)


class FormerRelease:
    """The code of an earlier release in a folder, and its processes in a system of this one."""

    def __init__(self, revision: str, folder: Path, system: System) -> None:
        """Extract the code.

        Args:
            revision: A tag or commit.
            folder: Where to put the code.
            system: The system whose servers, ports and settings the processes use.
        """
        archive = subprocess.run(
            ["git", "archive", "--format=zip", revision], cwd=ROOT, capture_output=True, check=True
        ).stdout
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            files.extractall(folder)
        self._folder = folder
        self._system = system
        self._environment = self._known_environment()

    def migrate(self) -> None:
        """Run the release's `fanfare migrate`."""
        self._run(_MIGRATE, "migrate", environment=self._environment)

    def start(self) -> None:
        """Start the release's processes as those of the system, and wait until they serve."""
        settings = self._system.settings
        for name, port, rest_port in (
            ("write", settings.write_port, settings.rest_write_port),
            ("read", settings.read_port, settings.rest_read_port),
            ("worker", settings.worker_port, 0),
        ):
            process = ServerProcess(
                f"The former {name} process",
                [sys.executable, "-m", PACKAGES[name]],
                settings.state_dir / "logs" / f"former-{name}.log",
                self._system._serving(settings.local_address(port), rest_port),
                folder=self._folder,
                environment=self._environment,
            )
            self._system.processes[name] = process
            process.start()

    def _known_environment(self) -> Mapping[str, str]:
        """Return the system's environment without the settings that the release does not know."""
        paths = f"{self._folder}{os.pathsep}{self._folder / 'gen'}"
        environment = self._system._environment | {"PYTHONPATH": paths}
        plain = {n: value for n, value in environment.items() if not n.startswith(PREFIX)}
        fields = self._run(_SETTINGS, environment=plain).split()
        known = {f"{PREFIX}{field.upper()}" for field in fields} | {SECRETS_DIR}
        return plain | {n: value for n, value in environment.items() if n in known}

    def _run(self, code: str, *arguments: str, environment: Mapping[str, str]) -> str:
        """Run code of the release; return what it prints."""
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"of the former release: {done.stderr}"
        return done.stdout


def _version(tag: str) -> tuple[int, ...]:
    found = _RELEASE.fullmatch(tag)
    assert found is not None
    return tuple(map(int, found.groups()))


def _git(repository: Path, *arguments: str) -> str | None:
    """Return what git prints; None if it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=repository, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
