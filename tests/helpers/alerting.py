"""A running Prometheus with Fanfare's rules, all of whose times are shortened."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml
from helpers.rules import RULES
from helpers.waiting import wait_until

from core.rpc.tls import open_url

# Every time in the rules is divided by SPEED. Windows have at least the first number of seconds,
# because a rate needs some scrapes, and at most the second, so that windows of days end as well.
# An event or the replica may be late by LATE_SECONDS, which even a busy machine rarely reaches.
SPEED = 60
LATE_SECONDS = 5
WINDOW_SECONDS = (4, 8)
FOR_SECONDS = (1, 3)
SCRAPE_SECONDS = 0.5
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WINDOW = re.compile(r"\[(\d+)([smhd])\]")
_LATE = re.compile(r"(_seconds\) > )\d+$")
_HORIZON = re.compile(r"(predict_linear\(.*, )(\d+)\)")


def write_shortened_rules(folder: Path) -> Path:
    """Write the rules with shorter times to a folder; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in RULES.glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        for group in content["groups"]:
            for rule in group["rules"]:
                _shorten(rule)
        (folder / path.name).write_text(yaml.safe_dump(content))
    return folder


def _shorten(rule: dict[str, Any]) -> None:
    def window(found: re.Match[str]) -> str:
        return f"[{_seconds(found[1], found[2], WINDOW_SECONDS)}s]"

    def horizon(found: re.Match[str]) -> str:
        return f"{found[1]}{int(found[2]) // SPEED})"

    expression = _HORIZON.sub(horizon, _WINDOW.sub(window, rule["expr"]))
    rule["expr"] = _LATE.sub(rf"\g<1>{LATE_SECONDS}", expression)
    if "for" in rule:
        rule["for"] = f"{_seconds(rule['for'][:-1], rule['for'][-1], FOR_SECONDS)}s"


def _seconds(number: str, unit: str, limits: tuple[int, int]) -> int:
    least, most = limits
    return min(max(int(number) * _UNITS[unit] // SPEED, least), most)


class Alerting:
    """The API of a Prometheus, and what its alerts have done so far."""

    def __init__(self, address: str) -> None:
        """Ask the Prometheus at host:port."""
        self._address = address
        self.fired: set[str] = set()
        """The alerts that were waited for."""

    def firing(self) -> dict[str, list[dict[str, str]]]:
        """Return the labels of the alerts that fire, by their names."""
        found: dict[str, list[dict[str, str]]] = {}
        for alert in self._ask("alerts")["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return found

    def query(self, query: str) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        result: list[dict[str, Any]] = self._ask("query", query=query)["result"]
        return result

    def wait_fired(self, *names: str) -> None:
        """Wait until each of these alerts has fired from now on, if only for a moment."""
        missing = set(names)

        def have_fired() -> bool:
            missing.difference_update(self.firing())
            return not missing

        try:
            wait_until(have_fired, "these alerts fire")
        finally:
            self.fired |= set(names) - missing
            assert not missing, f"these alerts do not fire: {sorted(missing)}"

    def wait_quiet(self, *ignored: str) -> None:
        """Wait until no alert fires, except those ignored."""
        left: set[str] = set()

        def is_quiet() -> bool:
            left.clear()
            left.update(set(self.firing()) - set(ignored))
            return not left

        try:
            wait_until(is_quiet, "no alert fires")
        finally:
            assert not left, f"these alerts still fire: {sorted(left)}"

    def _ask(self, what: str, **arguments: str) -> dict[str, Any]:
        url = f"http://{self._address}/api/v1/{what}?{urlencode(arguments)}"
        with open_url(url, None, timeout=10) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data
