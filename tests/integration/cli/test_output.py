"""The output of `fanfare`: whatever happens to it, the command does its work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[3]
# Stands for any command: it prints, does its work, and prints again.
WORK = r"""
import click, pathlib, sys
from rich.console import Console
from rich.progress import Progress
from cli import main
from ops.errors import OpsError

@click.command()
@click.argument("path")
def work(path):
    console = Console()
    with Progress(console=console) as progress:
        task = progress.add_task("caf\u00e9 \u6f22\u5b57 \ud83d", total=2)
        for number in range(1000):
            console.print(f"\u6f22\u5b57 \u20ac {number}")
            click.echo("caf\u00e9 \U0001f600")
        pathlib.Path(path).write_text("done")
    if "fail" in path:
        raise OpsError("caf\u00e9 is closed")

main.COMMANDS["work"] = "__main__:work"
main.main()
"""


def _run(arguments: list[str], shell_suffix: str = "", **environment: str) -> tuple[int, str, str]:
    command = " ".join(f"'{argument}'" for argument in arguments)
    done = subprocess.run(
        ["bash", "-c", f"{command} {shell_suffix}"],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    """Return a command line of `fanfare` with the command `work`."""
    path = tmp_path / "script.py"
    path.write_text(WORK)
    return [sys.executable, str(path), "work"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16", "utf-8"])
def test_an_encoding_that_lacks_characters_stops_nothing(
    script: list[str], tmp_path: Path, encoding: str
) -> None:
    """They are printed as escapes."""
    path = tmp_path / "done"
    status, _, told = _run([*script, str(path)], PYTHONIOENCODING=encoding)
    assert (status, path.read_text()) == (0, "done"), told
    assert "Traceback" not in told


FAILURE = "Error: caf\u00c3\u00a9 is closed"


@pytest.mark.parametrize("name", ["done", "fail"])
def test_a_broken_output_is_one_sentence_and_the_work_goes_on(
    script: list[str], tmp_path: Path, name: str
) -> None:
    """The exit status is 1, because what was asked for was not printed."""
    path = tmp_path / name
    status, _, told = _run([*script, str(path)], ">/dev/full")
    assert (status, path.read_text()) == (1, "done"), told
    full = "Error: the output could not be written: No space left on device"
    assert told.splitlines() == [*[FAILURE] * (name == "fail"), full]


@pytest.mark.parametrize("name", ["done", "fail"])
@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_reader_that_has_had_enough_changes_nothing(
    script: list[str], tmp_path: Path, reader: str, name: str
) -> None:
    """The exit status says how the work went, and no error is told but those of the work."""
    path = tmp_path / name
    status, _, told = _run([*script, str(path)], f"| {reader}; exit ${{PIPESTATUS[0]}}")
    assert (status, path.read_text()) == (int(name == "fail"), "done"), told
    assert told.splitlines() == [FAILURE] * (name == "fail")


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_no_other_user_may_write_what_a_command_makes(
    script: list[str], tmp_path: Path, umask: int, mode: int
) -> None:
    """Whatever the umask; one that forbids more is kept."""
    path = tmp_path / "done"
    subprocess.run([*script, str(path)], cwd=ROOT, check=True, capture_output=True, umask=umask)
    assert path.stat().st_mode & 0o777 == mode


def test_a_closed_output_stops_nothing(script: list[str], tmp_path: Path) -> None:
    """A reader that closes the pipe wants no more output."""
    path = tmp_path / "done"
    status, _, told = _run([*script, str(path)], ">&-")
    assert (status, told, path.read_text()) == (0, "", "done")
    status, told, _ = _run([*script, str(path)], ">&- 2>&-")
    assert (status, told) == (0, "")


@pytest.mark.parametrize("arguments", [[], ["--version"], *([name, "-h"] for name in COMMANDS)])
def test_a_full_disk_is_one_sentence_for_every_command(arguments: list[str]) -> None:
    """Even for what is written only when the command ends."""
    status, _, told = _run(["fanfare", *(arguments or ["-h"])], ">/dev/full")
    assert (status, told) == (
        1,
        "Error: the output could not be written: No space left on device\n",
    )


CLOSED = {
    "FANFARE_POSTGRES_DSN": "postgresql://fanfare:hunter2@127.0.0.1:1/fanfare",
    "FANFARE_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0",
    "FANFARE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "FANFARE_WRITE_TARGET": "127.0.0.1:1",
    "FANFARE_READ_TARGET": "127.0.0.1:1",
}


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate"],
        ["load", "--follows", "follows.txt"],
        ["status"],
        ["doctor"],
        ["verify"],
        ["rebuild", "--all"],
        ["recover", "--dry-run"],
        ["dlq", "list"],
        ["dlq", "replay"],
        ["replay", "--since", "1"],
        ["admin", "bob"],
        ["keys", "new"],
        ["tweet", "1", "hello"],
        ["follow", "1", "2"],
        ["timeline", "1"],
        ["watch", "1"],
    ],
    ids=" ".join,
)
def test_dead_servers_give_no_traceback(arguments: list[str], tmp_path: Path) -> None:
    """The exit status is 1, and no password is shown."""
    (tmp_path / "follows.txt").write_text("1 2\n")
    done = subprocess.run(
        ["fanfare", *arguments],
        env=os.environ | CLOSED | {"FANFARE_STATE_DIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert done.stderr
