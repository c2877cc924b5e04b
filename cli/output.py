"""The output of a command, which never decides whether the command goes on.

A terminal that is closed, a pipe whose reader has ended, a full disk, or an encoding that lacks a
character must not end a command halfway through its work.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click


class _Sink(io.RawIOBase):
    """Writes to a file descriptor until that fails, and drops what comes afterwards."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.error: OSError | None = None

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def has_ended(self) -> bool:
        """Return whether nothing more can be written, as far as that is known without trying."""
        poller = select.poll()
        poller.register(self._descriptor, 0)  # errors are reported in any case
        gone = select.POLLERR | select.POLLNVAL
        return self.error is not None or any(event & gone for _, event in poller.poll(0))

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        while self.error is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                # Another program has made the descriptor that it shares with us non-blocking.
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = error
        return len(data)


@contextmanager
def forgiving_output() -> Iterator[None]:
    """Let nothing that is printed raise an exception; report a failed output at the end.

    The exit status is then 1. A pipe whose reader has ended is no failure: the reader has had what
    it wanted. What the encoding of the output lacks is printed as an escape.
    """
    sinks = [sink for name in ("stdout", "stderr") if (sink := _replace(name)) is not None]
    status: object = 0
    try:
        yield
    except SystemExit as error:
        status = error.code
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    errors = [sink.error for sink in sinks if sink.error is not None]
    failed = next((error for error in errors if error.errno != errno.EPIPE), None)
    if failed is not None:
        click.echo(f"Error: the output could not be written: {failed.strerror}", err=True)
        status = status or 1
    sys.exit(status)  # type: ignore[arg-type]


def output_has_ended() -> bool:
    """Return whether stdout takes nothing more, so that a command that only prints may end."""
    sink = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return sys.stdout is None or (isinstance(sink, _Sink) and sink.has_ended())


def _replace(name: str) -> _Sink | None:
    """Replace a stream of sys by one that writes to a sink; return the sink, None if there is none.

    A stream is None if its descriptor was closed when the command started.
    """
    stream: TextIO | None = getattr(sys, name)
    if stream is None:
        return None
    sink = _Sink(stream.fileno())
    # typeshed's type of the parameter is not RawIOBase.
    buffer = io.BufferedWriter(sink)  # type: ignore[type-var]
    text = io.TextIOWrapper(buffer, stream.encoding, "backslashreplace", line_buffering=True)
    setattr(sys, name, text)
    return sink
