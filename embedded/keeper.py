"""Runs one server and ends it when the parent is gone: `python keeper.py JSON`.

The parent holds the other end of stdin. When it closes, by stop() or because the parent died in
whatever way, the server is told to stop, and killed if it has not after its time. The keeper
leads a session of its own, so a Ctrl-C at the terminal reaches the parent alone, which then stops
things in its order. Prints the server's process id. Standard library only: it starts in an instant.
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
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def drop_to(uid: int, gid: int) -> None:
    """Become the user, in the child before it runs the server.

    The right to pass folders that are closed to others is kept (Linux only): a checkout below a
    folder of root's alone must work without changing the rights of anything outside it.
    """
    keep = sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True) if keep else None
    if libc is not None:
        # Capabilities outlast the change of user, and count for access(2) too, which initdb asks.
        libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if libc is not None:
        bit = 1 << _CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        # Effective, permitted, inheritable, each in two words: this one and no other.
        one = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
        none = (ctypes.c_uint32 * 6)()
        if libc.capset(header, one) == 0:
            libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)
        elif libc.capset(header, none) != 0:
            # A container withholds the one: then none, and folders must be open. But never all.
            raise OSError(ctypes.get_errno(), "the capabilities of root could not be given up")


def keep(order: dict[str, Any]) -> int:
    """Run the server until it ends or the parent is gone; return its exit status."""
    user = order["user"]
    with open(order["log"], "ab") as log:  # noqa: PTH123 - pathlib would double the start-up time
        server = subprocess.Popen(  # noqa: S603 - the parent's own command
            order["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=order["environment"],
            start_new_session=True,
            # Nothing of Python's state matters between this fork and the exec.
            preexec_fn=(lambda: drop_to(*user)) if user else None,  # noqa: PLW1509
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
    return server.wait()


if __name__ == "__main__":
    sys.exit(abs(keep(json.loads(sys.argv[1]))))
