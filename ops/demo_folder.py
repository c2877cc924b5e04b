"""The folder of one run of `fanfare demo`, which no run leaves behind for long."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_PREFIX = "demo-"
# Held while folders are made and removed, so that no run removes the folder of one that begins.
_LOCK = "demos.lock"
# Held by the run that the folder belongs to.
_OWN_LOCK = "demo.lock"


@contextmanager
def demo_folder(state_dir: Path) -> Iterator[Path]:
    """Yield an empty folder for a run of the demo.

    It is removed at the end, except for the logs of a run that failed: those stay until the next
    demo, which removes what earlier ones have left, even those that were killed.

    Args:
        state_dir: where the folder is made.

    Raises:
        OSError: it cannot be made.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with (state_dir / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for old in state_dir.glob(f"{_PREFIX}*/"):
                if not _is_in_use(old):
                    shutil.rmtree(old, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=state_dir))
            own = stack.enter_context((folder / _OWN_LOCK).open("w"))
            fcntl.flock(own, fcntl.LOCK_EX)
        try:
            yield folder
        except Exception:
            _remove_all_but_logs(folder)
            raise
        except BaseException:  # Ctrl-C
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _is_in_use(folder: Path) -> bool:
    """Return whether the folder's run, or a server that it has started, still holds a lock."""
    for path in (folder / _OWN_LOCK, *folder.glob("*/*.lock")):
        try:
            with path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            continue  # the run was killed before it had made the lock
    return False


def _remove_all_but_logs(folder: Path) -> None:
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files:
            if not name.endswith(".log"):
                (Path(place) / name).unlink(missing_ok=True)
        for name in folders:
            path = Path(place) / name
            if path.is_symlink():
                path.unlink()
            elif not any(path.iterdir()):
                path.rmdir()
