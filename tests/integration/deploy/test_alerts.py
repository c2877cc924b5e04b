"""By promtool: the rules are valid, and each alert fires when it should, and only then."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.rules import OBSERVABILITY, RULES, alerts

TESTS = sorted((OBSERVABILITY / "tests").glob("*.yaml"))


def _promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus): the alerts were not tested")
    command = ["promtool", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _cases() -> list[dict[str, Any]]:
    """Return every case of the tests of alerts."""
    return [
        case
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]


def test_every_alert_is_tested_both_ways() -> None:
    """There is a case in which it fires, and one in which it does not."""
    cases = _cases()
    fires = {case["alertname"] for case in cases if case["exp_alerts"]}
    is_quiet = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert fires == is_quiet == set(alerts())


def test_prometheus_accepts_the_rules() -> None:
    """Expressions and templates are valid."""
    answer = _promtool("check", "rules", *sorted(RULES.glob("*.yaml")))
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_prometheus_accepts_the_configuration() -> None:
    """Of docker-compose.yml; where the rules are mounted there, nothing is here."""
    answer = _promtool("check", "config", "--syntax-only", OBSERVABILITY / "prometheus.yml")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_prometheus_accepts_the_queries_of_the_dashboards(tmp_path: Path) -> None:
    """Each is checked as the expression of a recording rule."""
    rules = [
        {
            "record": f"panel:{len(path.stem)}_{panel['id']}_{number}",
            "expr": target["expr"].replace("$__rate_interval", "5m"),
        }
        for path in (OBSERVABILITY / "grafana" / "dashboards").glob("*.json")
        for panel in json.loads(path.read_text())["panels"]
        for number, target in enumerate(panel.get("targets", []))
    ]
    assert len(rules) > 50
    file = tmp_path / "panels.yaml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    answer = _promtool("check", "rules", file)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(path: Path) -> None:
    """The cases beside the rules, by Prometheus' own test runner."""
    answer = _promtool("test", "rules", path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
