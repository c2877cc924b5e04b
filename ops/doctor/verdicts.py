"""What a check of `fanfare doctor` has found, and how an error becomes such a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.settings import SettingsError
from core.storage.settings_checks import SettingsUnknownError
from core.storage.settings_rules import Finding, Severity
from ops.errors import OpsError
from ops.failures import FAILURES, explain_failure


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    """It works, but costs more or is less safe than it has to be."""
    FAIL = "fail"
    """It does not work, or acknowledged commands may be lost, or timelines may be wrong."""


@dataclass(frozen=True)
class Verdict:
    """One thing that a check has found."""

    status: Status
    text: str
    """What was found; where something is wrong, its cause."""
    cure: str = ""
    """What to change; empty if nothing needs to be changed."""


@dataclass(frozen=True)
class Result:
    """A verdict, with the name of the check that has found it."""

    check: str
    verdict: Verdict


_STATUSES = {
    Severity.NOTE: Status.OK,
    Severity.WARNING: Status.WARN,
    Severity.ERROR: Status.FAIL,
}


def verdict_of_finding(finding: Finding) -> Verdict:
    """Return the verdict of a setting of a server."""
    return verdict_of_sentence(finding.text, _STATUSES[finding.severity])


def verdict_of_sentence(sentence: str, status: Status = Status.FAIL) -> Verdict:
    """Return the verdict of a sentence that says what is wrong, and after "; " what to do."""
    text, _, cure = sentence.partition("; ")
    return Verdict(status, text, cure)


def verdict_of_error(error: Exception) -> Verdict:
    """Return the verdict of a check that has raised an error.

    The text of an error that nobody expected is not shown, because it may hold a password.
    """
    match error:
        case SettingsUnknownError(__cause__=Exception() as cause):
            return verdict_of_error(cause)
        case SettingsError() | OpsError():
            return verdict_of_sentence(str(error))
        case error if isinstance(error, FAILURES):
            return Verdict(Status.FAIL, *explain_failure(error))
        case TimeoutError():
            return Verdict(Status.FAIL, "the server does not answer in time", "check that it runs")
        case OSError(strerror=str(reason)):
            place = f"{error.filename}: " if error.filename else ""
            return Verdict(Status.FAIL, f"{place}{reason}", "run this as a user who may do that")
        case _:
            text = f"the check itself failed with {type(error).__name__}"
            return Verdict(Status.FAIL, text, "report it as a bug of Fanfare")
