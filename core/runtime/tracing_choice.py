"""Turns traces on where FANFARE_TRACES is set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.runtime.metrics_ports import Program
from core.runtime.process import StartError
from core.runtime.tracing import Tracer
from core.settings import Settings


@asynccontextmanager
async def tracing(settings: Settings, program: Program) -> AsyncIterator[Tracer | None]:
    """Export spans to FANFARE_TRACES while the context lasts; yield what begins them.

    Yields None where traces are off. Each process of a prefork enters this by itself, since the
    thread that exports would not survive a fork.

    Args:
        settings: say where to.
        program: the program of this process.

    Raises:
        StartError: traces are on, but the packages for them are not installed.
    """
    if not settings.traces:
        yield None
        return
    try:
        # Here, because the packages are installed only where they are wanted.
        from core.runtime.open_telemetry import exporting  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise StartError(
            "FANFARE_TRACES needs the packages of OpenTelemetry; run `pip install "
            "--require-hashes -r requirements/tracing.txt`, or do not set FANFARE_TRACES"
        ) from None
    async with exporting(settings.traces, program.name.lower()) as tracer:
        yield tracer
