"""Each failure of the system beneath is told with its own cure."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from embedded.causes import (
    MAX_PATH_BYTES,
    cure_in_log,
    explain_os_error,
    os_errors_explained,
    real_path,
    refuse_unusable_path,
)
from embedded.errors import StackError

CURES = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room in your quota",
    errno.EROFS: "on a disk that can be written to",
    errno.EACCES: "to a folder of yours",
    errno.EPERM: "to a folder of yours",
    errno.ENAMETOOLONG: "with a shorter path",
    errno.ENOTDIR: "whose path has no file in it",
    errno.ELOOP: "remove the symbolic link",
    errno.EMFILE: "ulimit -n",
    errno.EAGAIN: "ulimit -u",
    errno.ENOMEM: "more memory",
    errno.EIO: "to a folder that works",
}


@pytest.mark.parametrize("number", CURES)
def test_a_failure_has_the_cure_of_its_cause(tmp_path: Path, number: int) -> None:
    """The sentence names the file, the cause and its cure, and no other's cure."""
    error = OSError(number, os.strerror(number), str(tmp_path / "file"))
    told = explain_os_error(error, tmp_path)
    assert told.startswith(f"cannot use {tmp_path}/file: {os.strerror(number)}")
    cures = {cure for cure in CURES.values() if cure in told}
    assert cures == {CURES[number]}


def test_the_owner_of_a_closed_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's folder is told from one that merely is read-only."""
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "a" / "b"))
    told = explain_os_error(error, tmp_path)
    assert f"({tmp_path} belongs to user {own}, and this is user {own + 1})" in told


def test_an_error_becomes_one_sentence(tmp_path: Path) -> None:
    """No OSError leaves a start as a traceback."""
    (tmp_path / "file").touch()
    expected = pytest.raises(StackError, match=r"cannot use .*: Not a directory")
    with expected, os_errors_explained(tmp_path):
        (tmp_path / "file" / "below").mkdir()


def test_the_cause_is_found_in_a_servers_log() -> None:
    """A server that a full disk has stopped is told with that cure."""
    line = 'FATAL: could not write to file "pg_wal/xlogtemp.1": No space left on device'
    assert cure_in_log(["LOG: starting", line]).startswith("make room")
    assert cure_in_log(["LOG: starting"]) == ""


@pytest.mark.parametrize("name", [b"line\nbreak", b"tab\t", b"\xff", b"del\x7f"])
def test_a_path_that_no_server_can_use_is_refused(name: bytes) -> None:
    """The sentence shows the character in a form that can be printed."""
    with pytest.raises(StackError, match="the path of the state folder has") as caught:
        refuse_unusable_path(Path("/") / os.fsdecode(name))
    assert str(caught.value).isprintable()


def test_a_path_that_is_too_long_is_refused() -> None:
    """The limit is in bytes, whatever the characters."""
    refuse_unusable_path(Path("/" + "x" * (MAX_PATH_BYTES - 1)))
    for path in ("/" + "x" * MAX_PATH_BYTES, "/" + "ö" * (MAX_PATH_BYTES // 2)):
        with pytest.raises(StackError, match="with a shorter path"):
            refuse_unusable_path(Path(path))


@pytest.mark.parametrize("below", ["", "parts"])
def test_a_link_that_leads_back_to_itself_is_one_sentence(tmp_path: Path, below: str) -> None:
    """Path.resolve() would raise a RuntimeError on Python 3.11, and nothing on later ones."""
    (tmp_path / "one").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "one")
    with pytest.raises(StackError, match=r"cannot use .*symbolic links; remove the symbolic link"):
        real_path(tmp_path / "one" / below)


def test_a_working_folder_that_was_removed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path, such as that of the default state folder, then leads nowhere."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(StackError, match="the working folder was removed; change to another"):
        real_path(Path(".fanfare"))


def test_a_real_path_need_not_exist(tmp_path: Path) -> None:
    """Links in it are followed; what is missing or is no folder is for its user to report."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert real_path(tmp_path / "link" / "new") == tmp_path.resolve() / "folder" / "new"
    assert real_path(tmp_path / "file" / "new") == tmp_path.resolve() / "file" / "new"


def test_every_path_is_resolved_by_real_path() -> None:
    """In what commands import; __file__ is no path of an operator."""
    root = Path(__file__).resolve().parents[3]
    call = re.compile(r"(?<!__file__\))\.resolve\(\)")
    places = {
        f"{path.relative_to(root)}: {line.strip()}"
        for folder in ("bench", "cli", "embedded", "ops")
        for path in (root / folder).rglob("*.py")
        for line in path.read_text().splitlines()
        if call.search(line) and not line.strip().startswith(("#", "Path.resolve() does"))
    }
    # This one is the call of a library that fetches files.
    assert places == {"embedded/jars.py: return Path(wanted.resolve())"}
