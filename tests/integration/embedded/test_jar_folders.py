"""Folders that Kafka's jars cannot be put into, or not be loaded from."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from embedded import jars
from embedded.stack import Stack, StackError


def test_a_full_disk_is_not_taken_for_a_missing_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller explains it as it explains the failures of every file."""

    def fail(_: str) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(jars, "_resolver", lambda _: fail)
    expected = "cannot use .*: No space left on device; make room on its disk"
    with pytest.raises(StackError, match=expected):
        Stack(tmp_path / "state", tmp_path / "parts").start()


def test_a_folder_that_java_cannot_read_is_refused_before_anything_is_fetched(
    tmp_path: Path,
) -> None:
    """Java encodes characters beyond 16 bits wrongly, and would find no class."""
    folder = tmp_path / "東京 🗼"
    with pytest.raises(StackError, match="because of the character 🗼 in its path; set FANFARE_"):
        jars.kafka_jars(folder, print, threading.Event())
    assert not folder.exists()
