"""The folder of a demo does not outlive it for long."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from ops.demo_folder import demo_folder
from ops.errors import OpsError


def _demos(state_dir: Path) -> list[Path]:
    return list(state_dir.glob("demo-*/"))


def _fail(error: BaseException) -> None:
    raise error


def test_a_demo_that_succeeds_leaves_nothing(tmp_path: Path) -> None:
    """Everything below the folder is removed."""
    with demo_folder(tmp_path) as folder:
        (folder / "postgres").mkdir()
        (folder / "postgres" / "postgres.log").touch()
    assert _demos(tmp_path) == []


def test_a_demo_that_fails_leaves_its_logs_until_the_next(tmp_path: Path) -> None:
    """The log that the error names is there, and no data."""
    outside = tmp_path / "jars"
    outside.mkdir()
    (outside / "kafka.jar").touch()

    def fail(folder: Path) -> None:
        (folder / "kafka" / "data" / "deep").mkdir(parents=True)
        (folder / "kafka" / "jars").symlink_to(outside)
        (folder / "kafka" / "data" / "deep" / "0.index").write_bytes(bytes(1000))
        (folder / "kafka" / "kafka.log").write_text("why")
        raise OpsError("it failed")

    with pytest.raises(OpsError), demo_folder(tmp_path) as folder:
        fail(folder)
    log = folder / "kafka" / "kafka.log"
    assert log.read_text() == "why"
    assert [path for path in log.parents[1].rglob("*") if path.is_file()] == [log]
    assert (outside / "kafka.jar").exists()
    with demo_folder(tmp_path):
        assert not log.exists()


def test_an_interrupted_demo_leaves_nothing(tmp_path: Path) -> None:
    """Nobody has asked for its logs."""
    with pytest.raises(KeyboardInterrupt), demo_folder(tmp_path):
        _fail(KeyboardInterrupt())
    assert _demos(tmp_path) == []


def test_what_a_killed_demo_left_is_removed_when_its_servers_have_ended(tmp_path: Path) -> None:
    """A folder is in use as long as its demo or one of its servers holds a lock in it."""
    killed, young = tmp_path / "demo-killed", tmp_path / "demo-young"
    (killed / "kafka").mkdir(parents=True)
    (killed / "demo.lock").touch()
    young.mkdir()  # killed before it had made its lock
    with (killed / "kafka" / "kafka.lock").open("w") as server:
        fcntl.flock(server, fcntl.LOCK_EX)
        with demo_folder(tmp_path) as folder, demo_folder(tmp_path) as other:
            assert set(_demos(tmp_path)) == {killed, folder, other}
    with demo_folder(tmp_path) as folder:
        assert _demos(tmp_path) == [folder]
