"""Where the lines of the security log go: to stderr among the other lines, or to a file."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

from core.settings import SettingsError

LOG = logging.getLogger(__name__)


class _File(WatchedFileHandler):
    """Appends to a file that only its owner can read, and opens it again after it was rotated."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; a line that cannot be written must not fail the call that it is about."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say in the process's log that a line is missing."""
        LOG.error("cannot write to the security log: error=%r", str(sys.exc_info()[1]))

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        return os.fdopen(os.open(self.baseFilename, flags, 0o600), "a", encoding="utf-8")


def open_security_log(path: Path | None) -> Callable[[str], None]:
    """Return a function that writes a line.

    Args:
        path: the file to append to; None for stderr.

    Raises:
        SettingsError: the file cannot be opened.
    """
    logger = logging.getLogger("fanfare.security")
    logger.setLevel(logging.INFO)
    logger.propagate = False  # its lines have a format of their own
    try:
        handler = logging.StreamHandler(sys.stderr) if path is None else _File(path)
    except OSError as error:
        raise SettingsError(
            f"cannot open FANFARE_SECURITY_LOG={path}: {error.strerror}; name a file in a folder "
            "that this process may write to"
        ) from None
    logger.addHandler(handler)
    return logger.info
