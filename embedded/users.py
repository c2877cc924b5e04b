"""The user that Postgres runs as, which cannot be root."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from embedded.errors import StackError

# Users that exist on most systems and own nothing valuable.
UNPRIVILEGED = ("postgres", "nobody")
# What root needs to run Postgres as one of them, and to stop it; from <linux/capability.h>.
_CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
}


def refuse_nameless_user() -> None:
    """Refuse a user id without a name, with which initdb fails."""
    uid = os.geteuid()
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise StackError(
            f"user {uid} has no entry in /etc/passwd, which Postgres' initdb needs; add one, run "
            "this as a user that has one, or set FANFARE_POSTGRES_DSN to a Postgres that runs "
            "elsewhere"
        ) from None


def refuse_powerless_root() -> None:
    """Refuse a root that may not change users, as in a container without capabilities.

    Postgres runs as another user then, to whom root gives the data folder.
    """
    if os.geteuid() != 0 or sys.platform != "linux":
        return
    status = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":\t" in line
    )
    held = int(status["CapEff"], 16)
    missing = [name for name, number in _CAPABILITIES.items() if not held >> number & 1]
    if missing:
        raise StackError(
            "Postgres refuses to run as root, and this root may not run it as another user, "
            f"since it lacks {', '.join(missing)}; run this as an ordinary user, or give the "
            "container these capabilities"
        )


def unprivileged_user() -> tuple[int, int]:
    """Return the user and group ids for Postgres, which refuses to run as root."""
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise StackError(
        "Postgres refuses to run as root, and there is no user nobody; run this as another user"
    )


def chown(path: Path) -> None:
    """Change the owner of a path to the user that Postgres runs as."""
    if os.geteuid() == 0:
        os.chown(path, *unprivileged_user())
