"""Checks run side by side, and each has a result, whatever happens to it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import psycopg
import pytest

from core.settings import SettingsError
from core.storage.settings_checks import SettingsUnknownError
from core.storage.settings_rules import Finding, Rule, Severity
from ops.doctor.runner import Check, run_checks
from ops.doctor.verdicts import Result, Status, Verdict, verdict_of_error, verdict_of_finding

FINE = Verdict(Status.OK, "fine")
HANG_SECONDS = 0.2


def _fine() -> Sequence[Verdict]:
    return [FINE]


def _fail() -> Sequence[Verdict]:
    raise SettingsError("FANFARE_X is not set; set it")


def test_a_check_that_hangs_or_fails_does_not_stop_the_others() -> None:
    """The results are in the order of the checks; the one that hangs is given up."""
    ended = threading.Event()

    def hang() -> Sequence[Verdict]:
        ended.wait()
        return [FINE]

    checks = [Check("hangs", hang), Check("fails", _fail), Check("fine", _fine)]
    late, failed, fine = run_checks(checks, HANG_SECONDS)
    ended.set()
    assert (late.check, late.verdict.status) == ("hangs", Status.FAIL)
    assert late.verdict.text == "there is no answer within 0.2 s"
    assert failed == Result("fails", Verdict(Status.FAIL, "FANFARE_X is not set", "set it"))
    assert fine == Result("fine", FINE)


def test_a_check_whose_server_does_not_answer_is_left_out() -> None:
    """The operator is told of one cause once. A warning of the server leaves nothing out."""
    checks = [
        Check("down", _fail),
        Check("down settings", _fine, needs="down"),
        Check("up", lambda: [Verdict(Status.WARN, "old")]),
        Check("up settings", _fine, needs="up"),
    ]
    assert [result.check for result in run_checks(checks)] == ["down", "up", "up settings"]


@pytest.mark.parametrize(
    ("error", "text", "cure"),
    [
        (SettingsError("x is y; set it"), "x is y", "set it"),
        (PermissionError(13, "Permission denied", "/keys"), "/keys: Permission denied", "run this"),
        (TimeoutError(), "the server does not answer in time", "check"),
        (psycopg.OperationalError("refused"), "Postgres does not answer: refused", "check"),
        (ValueError("hunter2"), "the check itself failed with ValueError", "report"),
    ],
)
def test_an_error_is_told_with_a_cure_and_without_secrets(
    error: Exception, text: str, cure: str
) -> None:
    """The text of an error that nobody expected is not shown."""
    assert verdict_of_error(error).text == text
    assert verdict_of_error(error).cure.startswith(cure)
    assert verdict_of_error(error).status is Status.FAIL
    unknown = SettingsUnknownError()
    unknown.__cause__ = error
    assert verdict_of_error(unknown) == verdict_of_error(error)


@pytest.mark.parametrize(
    ("severity", "status"),
    [
        (Severity.NOTE, Status.OK),
        (Severity.WARNING, Status.WARN),
        (Severity.ERROR, Status.FAIL),
    ],
)
def test_a_finding_is_split_into_cause_and_cure(severity: Severity, status: Status) -> None:
    """What only a note says is right as it is."""
    verdict = verdict_of_finding(
        Finding(severity, Rule.POSTGRES_FSYNC, "x is off, so y; set x = on")
    )
    assert verdict == Verdict(status, "x is off, so y", "set x = on")
