"""Causes of failures of the system beneath, such as a full disk, and the cure of each."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unicodedata import category

from embedded.errors import StackError

# Postgres and Valkey have room for 1,023 bytes, to which they add the names of files.
MAX_PATH_BYTES = 800
_ELSEWHERE = "set FANFARE_STATE_DIR to a folder"
_CURES = {
    errno.ENOSPC: f"make room on its disk, or {_ELSEWHERE} on another disk",
    errno.EDQUOT: f"make room in your quota, or {_ELSEWHERE} on another disk",
    errno.EROFS: f"{_ELSEWHERE} on a disk that can be written to",
    errno.EACCES: f"{_ELSEWHERE} of yours",
    errno.EPERM: f"{_ELSEWHERE} of yours",
    errno.ENAMETOOLONG: f"{_ELSEWHERE} with a shorter path",
    errno.ENOTDIR: f"{_ELSEWHERE} whose path has no file in it",
    errno.EEXIST: f"{_ELSEWHERE}, and not to a file",
    errno.ELOOP: "remove the symbolic link that leads back to itself",
    errno.EISDIR: "remove the folder that is in the place of a file",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close programs: the machine has too many files open",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or close programs",
    errno.ENOMEM: "close programs, or give the machine more memory",
}
# What a server's own log says, in the locale C, when one of these has stopped it.
_TEXTS = {os.strerror(number): cure for number, cure in _CURES.items() if number != errno.EEXIST}


def is_local(error: BaseException) -> bool:
    """Return whether it is a failure of this machine, such as a full disk, and not of a network."""
    return isinstance(error, OSError) and error.errno in _CURES


def explain_os_error(error: OSError, state_dir: Path) -> str:
    """Return what failed and what to do about it.

    Args:
        error: the failure.
        state_dir: what to name if the error names no file.
    """
    path = Path(os.fsdecode(error.filename)) if error.filename else state_dir
    cure = _CURES.get(error.errno or 0, f"{_ELSEWHERE} that works")
    owner = _owner(path) if error.errno in {errno.EACCES, errno.EPERM} else ""
    return f"cannot use {path}: {error.strerror or error}{owner}; {cure}"


def cure_in_log(lines: list[str]) -> str:
    """Return what to do about the first known cause that the lines name; "" if they name none."""
    for line in lines:
        for text, cure in _TEXTS.items():
            if text in line:
                return cure
    return ""


def refuse_unusable_path(state_dir: Path) -> None:
    """Refuse a state folder that one of the servers cannot use.

    Raises:
        StackError: its path has control characters, which initdb refuses; it is not UTF-8, as Java
            needs it; or it is longer than Postgres and Valkey allow.
    """
    path = os.fsencode(state_dir)
    try:
        is_usable = not any(category(character) == "Cc" for character in path.decode())
    except UnicodeDecodeError:
        is_usable = False
    if not is_usable:
        shown = path.decode("ascii", "backslashreplace").encode("unicode_escape").decode()
        raise StackError(
            f"the path of the state folder has a line break, another control character or bytes "
            f"that are not UTF-8 ({shown}); {_ELSEWHERE} without them"
        )
    if len(path) > MAX_PATH_BYTES:
        raise StackError(
            f"the path of the state folder is {len(path)} bytes long, and the servers can use "
            f"{MAX_PATH_BYTES}; {_ELSEWHERE} with a shorter path"
        )


def real_path(path: Path) -> Path:
    """Return the absolute path without symbolic links; the path need not exist.

    Path.resolve() does the same, but on Python 3.11 a symbolic link that leads back to itself makes
    it raise a RuntimeError, which no command expects.

    Raises:
        StackError: such a link is in the path, or a relative path has lost its working folder.
    """
    try:
        real = Path(os.path.realpath(path))
    except FileNotFoundError as error:
        raise StackError(
            f"cannot use {path}: the working folder was removed; change to another folder"
        ) from error
    try:
        real.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StackError(explain_os_error(error, path)) from error
        # What uses the path reports any other failure.
    return real


@contextmanager
def os_errors_explained(state_dir: Path) -> Iterator[None]:
    """Turn each OSError into a StackError that says what to do about it."""
    try:
        yield
    except OSError as error:
        raise StackError(explain_os_error(error, state_dir)) from error


def _owner(path: Path) -> str:
    """Return whose the nearest existing folder is, if it is another user's."""
    for place in (path, *path.parents):
        try:
            owner = place.stat().st_uid
        except OSError:
            continue
        if owner != os.geteuid():
            return f" ({place} belongs to user {owner}, and this is user {os.geteuid()})"
        return ""
    return ""
