"""How a command that runs until it is told to stop hears of that."""

from __future__ import annotations

import signal
from typing import NoReturn


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt on the first SIGINT or SIGTERM, and ignore any further one."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
