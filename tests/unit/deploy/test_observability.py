"""Rules and dashboards name only metrics that exist, and say what an operator needs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator

import pytest
from helpers.known_metrics import series
from helpers.metrics_table import documented_metrics
from helpers.promql import Matcher, Names, Selector, names_in
from helpers.rules import OBSERVABILITY, alerts, all_rules

sys.path.insert(0, str(OBSERVABILITY))

from write_dashboards import DASHBOARDS, FOLDER, as_text

KNOWN = series()
SEVERITIES = {"page", "ticket"}
# By the guide, for the metrics that not all processes have.
PROCESSES_OF = {metric.name: metric.processes for metric in documented_metrics()}
# The labels that a template in an annotation or a legend uses.
LABEL_OF_ANNOTATION = re.compile(r"\$labels\.(\w+)")
LABEL_OF_LEGEND = re.compile(r"\{\{(\w+)\}\}")


def _panels() -> Iterator[tuple[str, str, str]]:
    """Yield the dashboard and title, the query and the legend of each series."""
    for dashboard in DASHBOARDS:
        content = json.loads((FOLDER / f"{dashboard.name}.json").read_text())
        for panel in content["panels"]:
            for target in panel.get("targets", []):
                yield f"{dashboard.name}: {panel['title']}", target["expr"], target["legendFormat"]


RULES = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in all_rules()]
PANELS = list(_panels())


def faults(query: str) -> list[str]:
    """Return what a query names that does not exist."""
    names = names_in(query)
    found = [fault for selector in names.selectors for fault in _selector_faults(selector)]
    metrics = [KNOWN[selector.metric] for selector in names.selectors if selector.metric in KNOWN]
    found += [
        f"no metric of the query has the label {label}"
        for label in sorted(names.grouping)
        if not any(label in labels for labels in metrics)
    ]
    return found


def _selector_faults(selector: Selector) -> Iterator[str]:
    labels = KNOWN.get(selector.metric)
    if labels is None:
        yield f"{selector.metric} does not exist"
        return
    for matcher in selector.matchers:
        if matcher.label == "job" and matcher.operator == "=":
            process = matcher.value.removeprefix("fanfare-")
            if process not in PROCESSES_OF.get(selector.metric, process):
                yield f"{process} does not export {selector.metric}"
        if matcher.label not in labels:
            yield f"{selector.metric} has no label {matcher.label}"
            continue
        values = labels[matcher.label]
        if values is None:
            continue
        parts = matcher.value.split("|") if "~" in matcher.operator else [re.escape(matcher.value)]
        for part in parts:
            if not any(re.fullmatch(part, value) for value in values):
                yield f"{matcher.label} of {selector.metric} is never {part}"


def test_names_are_found() -> None:
    """The test's own reader of PromQL knows metrics from functions, labels and words."""
    found = names_in(
        'sum by (le, job) (rate(a_bucket{le="1.0", job=~"x|y"}[5m])) > 14.4 * 2e9'
        " and max(b) or (on (partition) c unless absent(d{e!='f'}))".replace("'", '"')
    )
    assert found == Names(
        (
            Selector("a_bucket", (Matcher("le", "=", "1.0"), Matcher("job", "=~", "x|y"))),
            Selector("b", ()),
            Selector("c", ()),
            Selector("d", (Matcher("e", "!=", "f"),)),
        ),
        frozenset({"le", "job", "partition"}),
    )


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("fanfare_no_such_metric > 0", "fanfare_no_such_metric does not exist"),
        ("sum(rate(fanfare_events[5m]))", "fanfare_events does not exist"),
        ('fanfare_events_total{evnt="seek_back"}', "fanfare_events_total has no label evnt"),
        ('fanfare_events_total{event="seek_bak"}', "event of .* is never seek_bak"),
        ('up{job=~"fanfare-read|fanfare-wrote"}', "job of up is never fanfare-wrote"),
        ('grpc_server_handling_seconds_bucket{le="0.2"}', "le of .* is never 0"),
        ('fanfare_postgres_waiting{job="fanfare-worker"}', "worker does not export"),
        ("sum by (shard) (fanfare_redis_up)", "no metric of the query has the label shard"),
    ],
)
def test_what_does_not_exist_is_found(query: str, fault: str) -> None:
    """Each kind of mistake is."""
    (found,) = faults(query)
    assert re.match(fault, found)


@pytest.mark.parametrize(("name", "query"), RULES, ids=[name for name, _ in RULES])
def test_a_rule_names_what_exists(name: str, query: str) -> None:
    """Every alert and every recording rule."""
    assert faults(query) == [], name


@pytest.mark.parametrize(("place", "query", "legend"), PANELS)
def test_a_panel_names_what_exists(place: str, query: str, legend: str) -> None:
    """Every query of every panel; the legend has only labels that the query leaves."""
    assert faults(query) == [], place
    names = names_in(query)
    labels = names.grouping or {
        label for selector in names.selectors for label in KNOWN[selector.metric]
    }
    assert set(LABEL_OF_LEGEND.findall(legend)) <= labels


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_an_operator_needs(name: str) -> None:
    """How urgent it is, what has happened, and where to read on."""
    alert = alerts()[name]
    assert alert["labels"]["severity"] in SEVERITIES
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert notes["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    names = names_in(alert["expr"])
    metrics = [KNOWN[selector.metric] for selector in names.selectors]
    known = {label for labels in metrics for label in labels}
    assert set(LABEL_OF_ANNOTATION.findall(notes["description"])) <= known


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_the_files_of_the_dashboards_are_up_to_date(dashboard: object) -> None:
    """`make gen` writes them."""
    name = dashboard.name  # type: ignore[attr-defined]  # a Dashboard, which mypy finds twice
    assert (FOLDER / f"{name}.json").read_text() == as_text(dashboard)  # type: ignore[arg-type]


def test_no_panel_covers_another() -> None:
    """Each place in the grid of a dashboard has one panel."""
    for dashboard in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(as_text(dashboard))["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            taken |= cells
