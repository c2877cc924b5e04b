"""Reads single keys from the terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def single_keys() -> Iterator[Callable[[float], str]]:
    """Yield a function that waits for a key, for at most some seconds, and returns it, or "".

    Keys need no Enter and are not shown. Ctrl-C still interrupts. If stdin is not a terminal, the
    function only waits.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        yield _wait
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        yield lambda seconds: _read_key(terminal, seconds)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _read_key(terminal: int, seconds: float) -> str:
    ready, _, _ = select.select([terminal], [], [], seconds)
    if not ready:
        return ""
    # More than one byte may wait: an arrow key sends three.
    pressed = os.read(terminal, 64).decode(errors="replace")
    if not pressed:  # the terminal is gone
        _wait(seconds)
    return pressed[:1]


def _wait(seconds: float) -> str:
    time.sleep(seconds)
    return ""
