"""The low-water mark of the outbox."""

from __future__ import annotations

from write_service.low_water_mark import LowWaterMark


def test_it_waits_for_the_transactions_that_were_open() -> None:
    """Each of them may still commit an event with a lower id; those that began later cannot."""
    mark = LowWaterMark()
    mark.note_transactions(10, {"first", "second"})
    mark.note_unsent(None)
    mark.note_transactions(20, {"second", "third"})
    mark.note_unsent(None)
    assert mark.id == 1
    mark.note_transactions(30, {"third"})
    mark.note_unsent(None)
    assert mark.id == 11
    mark.note_transactions(40, {"third", "fourth"})
    mark.note_unsent(None)
    assert mark.id == 11
    mark.note_transactions(50, set())
    mark.note_unsent(None)
    assert mark.id == 31


def test_it_is_not_above_an_unsent_event() -> None:
    """An event that is visible and unsent is fetched again until it is marked."""
    mark = LowWaterMark()
    for last_id in (10, 20):
        mark.note_transactions(last_id, set())
    mark.note_unsent(7)
    assert mark.id == 7
    mark.note_unsent(15)
    assert mark.id == 11
    mark.note_unsent(None)
    assert mark.id == 11


def test_it_does_not_rise_before_a_second_look() -> None:
    """Between the first look and the fetch, a transaction may have begun and drawn an id."""
    mark = LowWaterMark()
    mark.note_transactions(10, set())
    mark.note_unsent(None)
    assert mark.id == 1
