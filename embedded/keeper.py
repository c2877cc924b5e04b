"""Runs one server and ends it when the parent is gone.

The first line on stdin is the order, as JSON; not an argument, since anybody may read those, and
it holds the server's environment. The answer on stdout is the server's process id, or why there
is none. The parent then holds stdin open. When it closes, by stop() or because the parent died in
whatever way, the server is told to stop, and killed if it has not after its time. The keeper leads
a session of its own, so a Ctrl-C at the terminal reaches the parent alone, which then stops things
in its order. Standard library only: it starts in an instant.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

# From <linux/prctl.h>, <linux/securebits.h> and <linux/capability.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522


def become(libc: ctypes.CDLL | None, uid: int, gid: int, needed: list[str]) -> None:
    """Become the user, in the child before it runs the server.

    Where what it needs lies below folders that are closed to it, the least right that opens them
    is kept (Linux only): a checkout below a folder of root's alone must work without changing
    anything outside of it. That is to read anything; where a container withholds it, to read and
    write anything.
    """
    if libc is not None:
        # Capabilities outlast the change of user, and count for access(2) too, which initdb asks.
        _prctl(libc, _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if libc is None:
        return
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted, inheritable; then the same for the capabilities from 32 on.
    held = (ctypes.c_uint32 * 6)()
    libc.capget(header, held)
    for kept in (0, 1 << _CAP_DAC_READ_SEARCH, 1 << _CAP_DAC_OVERRIDE):
        # Fails where the right is withheld, and then changes nothing.
        libc.capset(header, (ctypes.c_uint32 * 6)(kept, held[1], kept, 0, held[4], 0))
        if all(os.access(path, os.X_OK) for path in needed):
            break
    else:
        kept = 0  # the server's own message will name the folder
    if libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, kept)) != 0:
        raise OSError(ctypes.get_errno(), "the capabilities of root could not be given up")
    if kept:
        _prctl(libc, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, kept.bit_length() - 1)


def _prctl(libc: ctypes.CDLL, option: int, *arguments: int) -> None:
    # The kernel looks at all four, and a plain int would leave their upper halves to chance.
    padded = (*arguments, 0, 0, 0, 0)[:4]
    libc.prctl(option, *(ctypes.c_ulong(argument) for argument in padded))


def keep(order: dict[str, Any]) -> int:
    """Run the server until it ends or the parent is gone.

    Returns:
        Its exit status, or 128 and the number of the signal that ended it, as a shell says it.
    """
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def before() -> None:
        if order["user"]:
            uid, gid = order["user"]
            become(libc, uid, gid, order["needed"])
        if libc is not None:
            # Should the keeper itself be killed. After the change of user, which clears it.
            _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)

    with open(order["log"], "ab") as log:  # noqa: PTH123 - pathlib would double the start-up time
        server = subprocess.Popen(  # noqa: S603 - the parent's own command
            order["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=order["environment"],
            start_new_session=True,
            # The server and its children hold the lock, so it is free when the last has gone.
            pass_fds=[order["lock"]],
            # Nothing of Python's state matters between this fork and the exec.
            preexec_fn=before,  # noqa: PLW1509
        )
    print(server.pid, flush=True)  # noqa: T201 - this is the answer to the parent

    def watch() -> None:
        os.read(0, 1)
        server.send_signal(order["signal"])
        try:
            server.wait(order["seconds"])
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    status = server.wait()
    return status if status >= 0 else 128 - status


def _order() -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1 << 16)
        if not part:
            sys.exit(1)  # the parent is gone already
        line += part
    order: dict[str, Any] = json.loads(line)
    return order


def main() -> int:
    """Do as ordered; return what keep() does, or 1 if the server could not be run."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever signals all processes signals the parent too, and that decides. A handler and
        # not SIG_IGN, which the server would inherit.
        signal.signal(number, lambda *_: None)
    try:
        return keep(_order())
    except PermissionError as error:
        cure = "open the folders above it to all users, or put it elsewhere"
        print(f"{error.filename} is closed to its user: {cure}", flush=True)  # noqa: T201
        return 1
    except (OSError, subprocess.SubprocessError) as error:
        print(error, flush=True)  # noqa: T201 - as above
        return 1


if __name__ == "__main__":
    sys.exit(main())
