"""Where the lines of the security log go."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.runtime.security_log_file import open_security_log
from core.settings import SettingsError


@pytest.fixture(autouse=True)
def _forget_handlers() -> Iterator[None]:
    yield
    logger = logging.getLogger("fanfare.security")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def test_a_file_is_appended_to_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    """The file has the lines and nothing else, and a rotated file is replaced by a new one."""
    path = tmp_path / "security.log"
    write = open_security_log(path)
    write('{"percent": "%s"}')
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(tmp_path / "security.log.1")
    write("after")
    assert (tmp_path / "security.log.1").read_text() == '{"percent": "%s"}\n'
    assert path.read_text() == "after\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_cannot_be_written_does_not_fail_its_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The process's log says so, without the line."""
    folder = tmp_path / "logs"
    folder.mkdir()
    write = open_security_log(folder / "security.log")
    (folder / "security.log").unlink()
    folder.rmdir()
    write("lost")
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said.startswith("cannot write to the security log")
    assert "lost" not in said


def test_a_file_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    """The process does not start, and the error names the setting."""
    with pytest.raises(SettingsError, match="cannot open FANFARE_SECURITY_LOG="):
        open_security_log(tmp_path / "nothing" / "security.log")


def test_by_default_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """They stand among the other lines, without a prefix."""
    open_security_log(None)('{"event": "sign_in"}')
    assert capsys.readouterr().err == '{"event": "sign_in"}\n'
