"""Ctrl-C while a program imports its modules."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Stands before the modules of Python in the path, so that the program finds it in place of one
# that it imports early, and presses Ctrl-C.
PRESSES = """
import os
import signal

os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize("program", ["write_service", "read_service", "fanout_worker"])
def test_ctrl_c_during_the_imports_shows_no_traceback(tmp_path: Path, program: str) -> None:
    """SIGINT ends the process."""
    (tmp_path / "asyncio.py").write_text(PRESSES)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", program],
        env=os.environ | {"PYTHONPATH": path},
        # pytest may have been started with SIGINT ignored, which its children would inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
