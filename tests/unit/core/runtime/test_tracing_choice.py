"""Turning traces on."""

from __future__ import annotations

import sys

import pytest

from core.runtime.metrics_ports import Program
from core.runtime.process import StartError
from core.runtime.tracing_choice import tracing
from core.settings import Settings, SettingsError
from core.settings_loading import load_settings


async def test_missing_packages_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to install them. Without traces they are not needed."""
    for name in [*sys.modules]:
        if name.startswith(("opentelemetry", "core.runtime.open_telemetry")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    expected = r"^FANFARE_TRACES needs .* `pip install .* -r requirements/tracing\.txt`, or"
    with pytest.raises(StartError, match=expected):
        async with tracing(Settings(traces="http://127.0.0.1:1"), Program.READ):
            pass
    async with tracing(Settings(), Program.READ) as tracer:
        assert tracer is None


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:4317", "http://user:hunter2@h", "http://h/v1/traces", "grpc://h", "on"]
)
def test_an_endpoint_that_is_not_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """Secrets and paths would be ignored silently."""
    monkeypatch.setenv("FANFARE_TRACES", endpoint)
    with pytest.raises(SettingsError, match="FANFARE_TRACES is not usable") as told:
        load_settings()
    assert "hunter2" not in str(told.value)
