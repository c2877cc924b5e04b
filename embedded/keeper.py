"""The keeper: a small process that runs one server and ends it when the parent is gone.

ServerProcess (server.py) starts the keeper as a script. The protocol between them:

- The first line on stdin is what to run, as JSON. It is not passed as an argument, because it
  contains the server's environment, and any user of the machine can read arguments.
- The answer on stdout is one line: the server's process id, or why it could not be run.
- The parent then holds stdin open. When stdin closes, because of stop() or because the parent died,
  the keeper sends the server its stop signal, and kills it if it has not ended in time.
- The keeper exits when the server has ended, with its exit status.

The keeper leads a session of its own, so a Ctrl-C at the terminal reaches only the parent, which
then stops its servers in order. It imports the standard library only, to start quickly.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
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


def drop_privileges(libc: ctypes.CDLL | None, uid: int, gid: int, needed_paths: list[str]) -> None:
    """Change from root to another user, in the child before it runs the server.

    The server must work even if its files lie below folders that only root can enter, such as a
    checkout in /root, and nothing may be changed there. So on Linux the child keeps one capability
    if the paths need it: the one to read any file or, if a container withholds that, the one to
    read and write any file.

    Args:
        libc: the C library; None except on Linux.
        uid: the user to become.
        gid: the group to become.
        needed_paths: what the user must be able to reach.
    """
    if libc is not None:
        # Keeps the capabilities across the change of user. They also apply to access(2), with which
        # initdb checks its files.
        _prctl(libc, _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if libc is None:
        return
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted, inheritable; then the same three for the capabilities from 32 on.
    held = (ctypes.c_uint32 * 6)()
    libc.capget(header, held)
    for kept in (0, 1 << _CAP_DAC_READ_SEARCH, 1 << _CAP_DAC_OVERRIDE):
        # Where the capability is withheld, this fails and changes nothing.
        libc.capset(header, (ctypes.c_uint32 * 6)(kept, held[1], kept, 0, held[4], 0))
        if all(os.access(path, os.X_OK) for path in needed_paths):
            break
    else:
        kept = 0  # the server's own message will name the folder
    if libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, kept)) != 0:
        raise OSError(ctypes.get_errno(), "could not give up the capabilities of root")
    if kept:
        _prctl(libc, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, kept.bit_length() - 1)


def _prctl(libc: ctypes.CDLL, option: int, *arguments: int) -> None:
    # The kernel checks all four arguments. A plain int would be passed as 32 bits, with the upper
    # half of the register undefined.
    padded = (*arguments, 0, 0, 0, 0)[:4]
    libc.prctl(option, *(ctypes.c_ulong(argument) for argument in padded))


def run_server(spec: dict[str, Any]) -> int:
    """Run the server until it ends by itself, or is stopped because the parent is gone.

    Args:
        spec: what to run, as ServerProcess writes it.

    Returns:
        Its exit status, or 128 plus the number of the signal that ended it, as in a shell.
    """
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    # Its files and its log, and a dump of its memory, may contain users' data. So nobody else may
    # read the files, and there is no dump.
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def prepare_child() -> None:
        if spec["user"]:
            uid, gid = spec["user"]
            drop_privileges(libc, uid, gid, spec["needed_paths"])
        if libc is not None:
            # Kills the server if the keeper itself is killed. This is set after the change of user,
            # which would clear it.
            _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)

    with open(spec["log"], "ab") as log:  # noqa: PTH123 - pathlib would double the start-up time
        server = subprocess.Popen(  # noqa: S603 - the parent's own command
            spec["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=spec["environment"],
            cwd=spec["folder"],
            start_new_session=True,
            # The server and its children inherit the lock, so it is released by the last of them.
            pass_fds=[spec["lock"]],
            # Safe, because the keeper has no other thread yet when it forks.
            preexec_fn=prepare_child,  # noqa: PLW1509
        )
    print(server.pid, flush=True)  # noqa: T201 - the answer to the parent

    def stop_when_parent_is_gone() -> None:
        os.read(0, 1)
        server.send_signal(spec["stop_signal"])
        try:
            server.wait(spec["stop_seconds"])
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)

    threading.Thread(target=stop_when_parent_is_gone, daemon=True).start()
    status = server.wait()
    return status if status >= 0 else 128 - status


def _read_spec() -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1 << 16)
        if not part:
            sys.exit(1)  # the parent is already gone
        line += part
    spec: dict[str, Any] = json.loads(line)
    return spec


def main() -> int:
    """Run the server; return what run_server() does, or 1 if it could not be run."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A signal to all processes reaches the parent too, and the parent decides what to stop. The
        # server would inherit SIG_IGN, but does not inherit a handler.
        signal.signal(number, lambda *_: None)
    try:
        return run_server(_read_spec())
    except PermissionError as error:
        cure = "open the folders above it to all users, or put it elsewhere"
        print(f"{error.filename} cannot be reached by its user; {cure}", flush=True)  # noqa: T201
        return 1
    except (OSError, subprocess.SubprocessError) as error:
        print(error, flush=True)  # noqa: T201 - as above
        return 1


if __name__ == "__main__":
    sys.exit(main())
