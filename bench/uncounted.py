"""A read service that does not count its calls, to measure what counting costs.

`python -m bench.uncounted` is `python -m read_service` without the metrics of calls.
"""

from __future__ import annotations

from core.runtime.call_metrics import CallMetrics
from core.runtime.process import run
from read_service.__main__ import serve


def _begin(_calls: CallMetrics) -> float:
    return 0.0


def _end(_calls: CallMetrics, _began: float, _outcome: int) -> None:
    pass


if __name__ == "__main__":
    CallMetrics.begin = _begin  # type: ignore[assignment, method-assign]
    CallMetrics.end = _end  # type: ignore[assignment, method-assign]
    run(serve)
