"""Private keys that other users of the machine can read are refused."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

_OWNER_ONLY = stat.S_IRWXG | stat.S_IRWXO
# Kubernetes mounts secrets as root's, and lets the process read them as a member of their group.
_ROOTS = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO


class ExposedKeyError(PermissionError):
    """The file of a private key gives access to more users than it should."""

    def __init__(self, path: Path, mode: int) -> None:
        """Take the file, and its mode."""
        super().__init__(
            errno.EPERM,
            f"the private key {path} has mode {mode:04o}, which lets others read or change it; run "
            "`chmod 600` on it (0440 and 0640 are accepted for files of root)",
        )


def refuse_exposed_key(path: Path) -> None:
    """Check who may use the file of a private key, by the rule of libpq and Postgres.

    Only its owner may use the file. If the owner is root, its group may read it.

    Raises:
        ExposedKeyError: others may use it as well.
        OSError: the file cannot be looked at.
    """
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & (_ROOTS if found.st_uid == 0 else _OWNER_ONLY):
        raise ExposedKeyError(path, stat.S_IMODE(found.st_mode))
