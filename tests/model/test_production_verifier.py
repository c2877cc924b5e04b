"""The verification of cached timelines, in the simulation: no lawful difference is reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

import pytest
from model import checks, events, history
from model.history import play
from model.production_verifier import ALL, BROKEN, Precautions, verify, without
from model.rules import ALL_RULES
from model.search import Totals, histories
from model.world import Steps, World

from fanout_worker import verification

CHUNKS = 4
HISTORIES = 30


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let production have as few shards and partitions as the model does."""
    monkeypatch.setattr(verification, "SHARDS", events.SHARDS)
    monkeypatch.setattr(verification, "PARTITIONS", events.PARTITIONS)


def _verify_often(monkeypatch: pytest.MonkeyPatch, precautions: Precautions) -> None:
    """Let readers read pages, which builds lists, and verify lists as well."""

    def check(world: World, viewer: int) -> Steps[None]:
        if world.rng.random() < 0.4:
            yield from checks.check_pagination(world, viewer)
        else:
            yield from verify(world, precautions)

    monkeypatch.setattr(history, "check_pagination", check)


def _play(runs: Iterable[tuple[int, str]]) -> tuple[Totals, list[str]]:
    totals, violations = Totals(), []
    for seed, focus in runs:
        result = play(seed, ALL_RULES, focus)
        totals.add(result)
        if result.violation is not None:
            violations.append(f"seed {seed}, focus {focus}: {result.violation}")
    return totals, violations


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_lawful_difference_is_reported(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is on its way, killed, lost or restored, no list is called wrong."""
    _verify_often(monkeypatch, ALL)
    runs = histories(chunk * HISTORIES)
    totals, violations = _play(next(runs) for _ in range(HISTORIES))
    assert violations == []
    assert totals.figures["verifications"] > HISTORIES / 2


@pytest.mark.parametrize("name", [field.name for field in fields(Precautions)])
def test_each_precaution_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the recorded run, a lawful difference is reported without it, and none with it."""
    seed, focus = BROKEN[name]
    _verify_often(monkeypatch, without(name))
    violation = play(seed, ALL_RULES, focus).violation
    assert violation is not None
    assert violation.startswith("verified: ")
    _verify_often(monkeypatch, ALL)
    assert play(seed, ALL_RULES, focus).violation is None
