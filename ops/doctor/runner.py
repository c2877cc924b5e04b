"""Runs checks side by side, so that none of them waits for another that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Thread

from ops.doctor.verdicts import Result, Status, Verdict, verdict_of_error

# How long a check may take. Connecting to Postgres takes at most 2 s for each host that its DSN
# names, and questions to Kafka and Redis at most 5 s.
LIMIT_SECONDS = 20.0


@dataclass(frozen=True)
class Check:
    """One check, which must not change anything."""

    name: str
    run: Callable[[], Sequence[Verdict]]
    needs: str = ""
    """The name of a check that must not fail first, such as whether a server answers at all."""


def run_checks(checks: Sequence[Check], limit_seconds: float = LIMIT_SECONDS) -> list[Result]:
    """Return what the checks have found, in their order.

    A check that needs another runs after it, and is left out if that one has failed: its cause
    would be the same.

    Args:
        checks: the checks.
        limit_seconds: how long each of them may take.
    """
    found = _run_all([check for check in checks if not check.needs], limit_seconds)
    usable = {
        name
        for name, verdicts in found.items()
        if all(verdict.status is not Status.FAIL for verdict in verdicts)
    }
    found |= _run_all([check for check in checks if check.needs in usable], limit_seconds)
    return [
        Result(check.name, verdict) for check in checks for verdict in found.get(check.name, ())
    ]


def _run_all(checks: Sequence[Check], limit_seconds: float) -> dict[str, Sequence[Verdict]]:
    """Run the checks in threads of their own, and return the verdicts of each by its name."""
    found: dict[str, Sequence[Verdict]] = {}
    # As daemons, because the command must end even if one of them never does.
    threads = [Thread(target=partial(_run, check, found), daemon=True) for check in checks]
    for thread in threads:
        thread.start()
    ends_at = time.monotonic() + limit_seconds
    for thread in threads:
        thread.join(max(0.0, ends_at - time.monotonic()))
    late = Verdict(
        Status.FAIL,
        f"there is no answer within {limit_seconds:g} s",
        "check that the server runs, and that nothing on the way drops its packets",
    )
    return {check.name: found.get(check.name, [late]) for check in checks}


def _run(check: Check, found: dict[str, Sequence[Verdict]]) -> None:
    try:
        found[check.name] = check.run()
    except Exception as error:  # noqa: BLE001 - one check must not stop the others
        found[check.name] = [verdict_of_error(error)]
