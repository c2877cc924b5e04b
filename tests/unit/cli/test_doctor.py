"""How `fanfare doctor` prints its results, and with which status it exits."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cli import doctor
from cli.main import cli
from ops.doctor.verdicts import Result, Status, Verdict

FINE = Result("disk", Verdict(Status.OK, "is empty"))
OLD = Result("packages", Verdict(Status.WARN, "a is [bold]old[/bold] \x1b[2J", "renew a"))
DOWN = Result("Redis", Verdict(Status.FAIL, "does not answer", "start it"))


def _examined(monkeypatch: pytest.MonkeyPatch, *results: Result) -> None:
    monkeypatch.setattr(doctor, "examine", lambda _: list(results))


@pytest.mark.parametrize(("results", "status"), [([FINE, OLD], 0), ([FINE, DOWN, DOWN, OLD], 1)])
def test_only_a_failure_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, results: list[Result], status: int
) -> None:
    """A warning is none. The failed checks are named on stderr, once each."""
    _examined(monkeypatch, *results)
    for options in ([], ["--json"]):
        ended = CliRunner().invoke(cli, ["doctor", *options])
        assert ended.exit_code == status
        assert ended.stderr == ("Failed: Redis.\n" if status else "")


def test_each_result_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is; markup is printed as it is, and escape sequences are not."""
    long = Result("x", Verdict(Status.WARN, "y" * 300, "z"))
    _examined(monkeypatch, FINE, OLD, DOWN, long)
    lines = CliRunner().invoke(cli, ["doctor"]).stdout.splitlines()
    assert lines == [
        "ok    disk      is empty",
        "warn  packages  a is [bold]old[/bold] \\x1b[2J; renew a",
        "fail  Redis     does not answer; start it",
        f"warn  x         {'y' * 300}; z",
    ]


def test_json_has_every_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs need not parse the lines."""
    _examined(monkeypatch, FINE, DOWN)
    printed = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).stdout)
    assert printed == {
        "ok": False,
        "checks": [
            {"check": "disk", "status": "ok", "text": "is empty", "cure": ""},
            {"check": "Redis", "status": "fail", "text": "does not answer", "cure": "start it"},
        ],
    }


def test_a_wrong_option_is_an_error_of_usage() -> None:
    """Its status is 2."""
    assert CliRunner().invoke(cli, ["doctor", "--jsno"]).exit_code == 2
