"""For each rule a history that keeps its promises with all rules, and breaks one without it."""

from __future__ import annotations

from typing import NamedTuple


class Recorded(NamedTuple):
    """A history."""

    focus: str
    seed: int


BROKEN = {
    "outbox_ids_after_locks": Recorded("edges", 1085),
    "unsent_rows": Recorded("edges", 0),
    "position_after_selection": Recorded("pulled", 201),
    "newest_epoch_marks": Recorded("replay", 8),
    "replay_takes_epoch": Recorded("replay", 1408),
    "new_producer_new_epoch": Recorded("relay", 125),
    "old_epochs_skipped": Recorded("relay", 125),
    "fences_compared": Recorded("worker", 1247),
    "parts_keep_offset": Recorded("all", 17),
    "parts_move_position": Recorded("lag", 1220),
    "fences_before_ranges": Recorded("worker", 21),
    "topic_asked_again": Recorded("kafka", 918),
    "arrays_dropped_with_place": Recorded("worker", 41),
    "follows_before_pushes": Recorded("edges", 52),
    "lost_records_wipe": Recorded("kafka", 2),
    "lists_follow_their_fence": Recorded("redis", 462),
    "unreadable_end_a_batch": Recorded("unreadable", 366),
    "unreadable_move_position": Recorded("unreadable", 381),
    "unreadable_drop_all": Recorded("unreadable", 41),
    "unreadable_drop_arrays": Recorded("unreadable", 298),
    "replayed_only_drop": Recorded("unreadable", 160),
    "wal_rule_for_lists": Recorded("lag", 6),
    "wal_rule_for_arrays": Recorded("lag", 114),
    "wal_rule_for_bodies": Recorded("bodies", 292),
    "position_checked_before_read": Recorded("lag", 26),
    "placeholder_before_position": Recorded("lag", 1478),
    "builds_lose_to_drops": Recorded("lag", 181),
    "compaction_cuts_at_floor": Recorded("pulled", 789),
    "merged_to_highest_floor": Recorded("pulled", 31),
    "crossing_drops_lists": Recorded("pulled", 55),
    "bodies_under_lease": Recorded("bodies", 1228),
    "missing_asked_of_primary": Recorded("bodies", 614),
    "hot_kept_when_parsed": Recorded("hot", 71),
    "hot_only_tracked": Recorded("hot", 7),
    "hot_forgotten_with_connection": Recorded("hot", 1),
    "pages_at_position": Recorded("lag", 37),
    "tokens_need_position": Recorded("lag", 4),
}
