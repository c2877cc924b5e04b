"""No record stays in Kafka for longer than the retention, whenever it was written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.settings import DEFAULT_RETENTION_DAYS, Settings
from core.storage.retention import DAY_SECONDS, longest_days, topic_retention

DAYS = st.floats(0.0001, 3650)


def _deleted_at(written: list[int], config: dict[str, str]) -> dict[int, int]:
    """Return when Kafka deletes each of the records, which were written at these times.

    Kafka begins a new segment with the first record that is segment.ms or more after the first one
    of the segment. It deletes a segment whose newest record is older than retention.ms.
    """
    retention, length = int(config["retention.ms"]), int(config["segment.ms"])
    segments: list[list[int]] = []
    for time in sorted(written):
        if not segments or time - segments[-1][0] > length:
            segments.append([])
        segments[-1].append(time)
    return {time: segment[-1] + retention for segment in segments for time in segment}


@given(DAYS, st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_no_record_is_kept_for_longer(days: float, written: list[int]) -> None:
    """Records are deleted in time, and none before six sevenths of the time."""
    config = topic_retention(days)
    kept = [deleted - time for time, deleted in _deleted_at(written, config).items()]
    assert max(kept) <= days * DAY_SECONDS * 1000
    assert min(kept) >= int(config["retention.ms"])
    assert int(config["retention.ms"]) > days * DAY_SECONDS * 1000 * 6 / 7 - 6


@given(DAYS)
def test_the_settings_satisfy_the_check(days: float) -> None:
    """`fanfare migrate` leaves a topic alone that it has just set."""
    assert longest_days(topic_retention(days)) <= days


def test_the_default_is_six_days_and_segments_of_one_day() -> None:
    """The documents name these figures."""
    config = topic_retention(DEFAULT_RETENTION_DAYS)
    assert int(config["retention.ms"]) == 6 * DAY_SECONDS * 1000
    assert int(config["segment.ms"]) == DAY_SECONDS * 1000
    assert Settings.model_fields["retention_days"].default == DEFAULT_RETENTION_DAYS
