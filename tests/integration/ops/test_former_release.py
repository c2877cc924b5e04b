"""Which release the test of upgrades takes for the one before this code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from helpers.former_release import VARIABLE, former_revision


@pytest.fixture(autouse=True)
def _without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with one commit."""
    _git(tmp_path, "init", "--quiet")
    _commit(tmp_path)
    return tmp_path


def _git(folder: Path, *arguments: str) -> None:
    identity = {
        f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    subprocess.run(["git", *arguments], cwd=folder, check=True, env=dict(os.environ) | identity)


def _commit(folder: Path, tag: str = "") -> None:
    _git(folder, "commit", "--quiet", "--allow-empty", "--no-gpg-sign", "--message", "x")
    if tag:
        _git(folder, "tag", tag)


def _reason(repository: Path) -> str:
    with pytest.raises(pytest.skip.Exception) as skipped:
        former_revision(repository)
    return str(skipped.value)


def test_the_newest_tag_before_this_commit_counts(repository: Path) -> None:
    """By its number; that of this commit is this release, and other tags are no releases."""
    for tag in ("0.2.0", "v0.10.0", "0.9.0", "0.99.0rc1", "nightly"):
        _commit(repository, tag)
    assert former_revision(repository) == "v0.10.0"
    _commit(repository, "1.0.0")
    assert former_revision(repository) == "v0.10.0"
    _commit(repository)
    assert former_revision(repository) == "1.0.0"


def test_without_an_earlier_release_the_reason_is_given(repository: Path, tmp_path: Path) -> None:
    """At the first release, in a shallow clone, and without git's data."""
    _git(repository, "tag", "0.2.0")
    assert "no commit before this one has the tag of a release" in _reason(repository)
    _commit(repository)
    assert former_revision(repository) == "0.2.0"
    shallow = tmp_path / "shallow"
    _git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", str(shallow))
    assert "git fetch --unshallow --tags" in _reason(shallow)
    (tmp_path / ".git").rename(tmp_path / "git")
    (tmp_path / "exported").mkdir()
    assert "not a clone" in _reason(tmp_path / "exported")


def test_a_commit_can_be_given(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be a release."""
    monkeypatch.setenv(VARIABLE, "main")
    assert former_revision(repository) == "main"
