"""Compares the clock of a server with that of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.auth.access_tokens import LEEWAY_SECONDS
from ops.doctor.verdicts import Status, Verdict

# Above this, lag and freshness in the metrics mislead. Above LEEWAY_SECONDS, a service whose clock
# is behind refuses the access tokens that a service with the right time has just signed.
WARN_SECONDS = 1.0


def check_clock(read_clock: Callable[[], float]) -> list[Verdict]:
    """Compare a server's clock with this machine's.

    Args:
        read_clock: asks the server for its time, in seconds since 1970.
    """
    asked_at = time.time()
    theirs = read_clock()
    answered_at = time.time()
    return [clock_verdict(asked_at, theirs, answered_at)]


def clock_verdict(asked_at: float, theirs: float, answered_at: float) -> Verdict:
    """Return the verdict on a server's clock.

    The server has read its clock at some moment between the question and the answer, so only what
    is outside of these two is known to be a difference.

    Args:
        asked_at: when it was asked, by this machine's clock.
        theirs: the time that the server has answered with.
        answered_at: when the answer came, by this machine's clock.
    """
    ahead = theirs - answered_at
    behind = asked_at - theirs
    seconds = max(ahead, behind, 0.0)
    if seconds <= WARN_SECONDS:
        return Verdict(Status.OK, f"differs by less than {WARN_SECONDS:g} s from this machine's")
    direction = "ahead of" if ahead > behind else "behind"
    return Verdict(
        Status.FAIL if seconds > LEEWAY_SECONDS else Status.WARN,
        f"is {seconds:.1f} s {direction} this machine's, so lag and freshness are measured "
        "wrongly, and access tokens may be refused",
        "synchronise the clocks of both machines (chrony, systemd-timesyncd)",
    )
