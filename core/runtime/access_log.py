"""The access log: a line for each call that a service has answered, where FANFARE_ACCESS_LOG is on.

The lines go to stderr with the others, and have the same form. They have no texts, no tokens, no
addresses and no ids of users. They are written every FLUSH_SECONDS together, because a system call
and Python's logging for each would cost a tenth of a read.
"""

from __future__ import annotations

import asyncio
import select
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from core.runtime.logs import utc_time
from core.settings import LogFormat

FLUSH_SECONDS = 0.1
# A pipe takes up to this many bytes as a whole, so that lines of several processes do not mix.
MAX_WRITE_BYTES = select.PIPE_BUF
# What is printed for a value that is not known.
_UNKNOWN = "-"


class CallRecord(NamedTuple):
    """What the access log says about a call.

    Nothing of it comes from the caller but the trace id, which has only hexadecimal digits.
    """

    transport: str
    """grpc or rest."""
    name: str
    """The method, or the verb and the template of the path."""
    code: str
    """The gRPC code, or the HTTP status."""
    reason: str
    """The reason of the error, as in ErrorInfo; empty if there was none."""
    seconds: float
    caller: str
    """The kind of the caller: user, service or unknown."""
    request_bytes: int | None
    trace_id: str | None


class AccessLog:
    """The access log of a process; only its event loop may use it."""

    def __init__(
        self,
        log_format: LogFormat,
        write: Callable[[str], object] = sys.stderr.write,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write in a format; write takes lines, and clock returns seconds since 1970."""
        self._line = _json_line if log_format is LogFormat.JSON else _text_line
        self._write = write
        self._clock = clock
        self._lines: list[str] = []

    def add(self, call: CallRecord) -> None:
        """Add the line of a call, which is written soon."""
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        self._lines.append(self._line(self._clock(), call))

    def flush(self) -> None:
        """Write the lines that have not been written yet."""
        lines, self._lines = self._lines, []
        # The calls have been answered, whether or not their lines can be written.
        with suppress(OSError):
            self._write_in_pieces(lines)

    def _write_in_pieces(self, lines: Sequence[str]) -> None:
        piece: list[str] = []
        size = 0
        for line in lines:
            if piece and size + len(line) > MAX_WRITE_BYTES:
                self._write("".join(piece))
                piece, size = [], 0
            piece.append(line)
            size += len(line)
        if piece:
            self._write("".join(piece))


def _text_line(now: float, call: CallRecord) -> str:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    size = _UNKNOWN if call.request_bytes is None else call.request_bytes
    return (
        f"{moment},{int(now % 1 * 1000):03} INFO access: call: transport={call.transport} "
        f'name="{call.name}" code={call.code} reason={call.reason or _UNKNOWN} '
        f"ms={call.seconds * 1000:.3f} caller={call.caller} request_bytes={size} "
        f"trace_id={call.trace_id or _UNKNOWN}\n"
    )


def _json_line(now: float, call: CallRecord) -> str:
    # No value has a character that JSON would escape.
    size = "null" if call.request_bytes is None else call.request_bytes
    reason = f'"{call.reason}"' if call.reason else "null"
    trace_id = f'"{call.trace_id}"' if call.trace_id else "null"
    return (
        f'{{"time": "{utc_time(now)}", "level": "INFO", "logger": "access", "event": "call", '
        f'"transport": "{call.transport}", "name": "{call.name}", "code": "{call.code}", '
        f'"reason": {reason}, "ms": {call.seconds * 1000:.3f}, "caller": "{call.caller}", '
        f'"request_bytes": {size}, "trace_id": {trace_id}}}\n'
    )
