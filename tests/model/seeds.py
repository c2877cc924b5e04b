"""For each rule, a run that keeps all promises with the rule and breaks one without it."""

from __future__ import annotations

from typing import NamedTuple


class Recorded(NamedTuple):
    """The focus and the seed of a run."""

    focus: str
    seed: int


BROKEN = {
    "outbox_ids_after_locks": Recorded("edges", 111),
    "unsent_rows": Recorded("edges", 0),
    "mark_waits_for_transactions": Recorded("edges", 0),
    "mark_ends_with_epoch": Recorded("all", 109),
    "partitions_locked": Recorded("partitions", 136),
    "replay_after_removed": Recorded("partitions", 230),
    "lsn_after_selection": Recorded("pulled", 241),
    "newest_epoch_marks": Recorded("replay", 4),
    "replay_takes_epoch": Recorded("replay", 50),
    "new_producer_new_epoch": Recorded("relay", 2766),
    "stale_epochs_skipped": Recorded("relay", 646),
    "checkpoints_compared": Recorded("checkpoints", 400),
    "chunks_keep_offset": Recorded("all", 0),
    "chunks_move_lsn": Recorded("lag", 1772),
    "chunks_have_ids": Recorded("chunks", 663),
    "checkpoints_before_ranges": Recorded("worker", 115),
    "topic_asked_again": Recorded("kafka", 187),
    "followers_dropped_with_checkpoints": Recorded("worker", 571),
    "follows_before_pushes": Recorded("edges", 15),
    "lost_records_wipe": Recorded("kafka", 0),
    "caches_dropped_with_checkpoints": Recorded("redis", 24),
    "created_at_end": Recorded("old offsets", 199),
    "unreadable_end_a_batch": Recorded("unreadable", 95),
    "unreadable_move_lsn": Recorded("unreadable", 124),
    "unreadable_drop_all": Recorded("unreadable", 5),
    "unreadable_drop_followers": Recorded("unreadable", 124),
    "replayed_only_drop": Recorded("unreadable", 386),
    "wal_rule_for_lists": Recorded("lag", 8),
    "wal_rule_for_followers": Recorded("lag", 192),
    "wal_rule_for_tweet_cache": Recorded("tweet cache", 115),
    "lsn_checked_before_read": Recorded("lag", 166),
    "placeholder_before_lsn": Recorded("lag", 1772),
    "builds_lose_to_drops": Recorded("lag", 644),
    "compaction_cuts_at_floor": Recorded("pulled", 155),
    "merged_to_highest_floor": Recorded("pulled", 1),
    "crossing_drops_lists": Recorded("pulled", 55),
    "tweet_cache_under_lease": Recorded("tweet cache", 123),
    "missing_asked_of_primary": Recorded("tweet cache", 241),
    "absent_asked_of_primary": Recorded("by id", 2),
    "read_again_under_lease": Recorded("by id", 742),
    "local_cache_by_history": Recorded("forked texts", 51),
    "local_cache_put_when_parsed": Recorded("local cache", 12),
    "local_cache_only_tracked": Recorded("local cache", 12),
    "local_cache_cleared_with_connection": Recorded("local cache", 0),
    "barrier_before_local_lists": Recorded("local lists", 5),
    "barrier_sent_after_call": Recorded("local lists", 264),
    "pages_at_lsn": Recorded("lag", 56),
    "tokens_need_lsn": Recorded("lag", 3),
    "restart_begins_history": Recorded("fork", 7),
    "keys_by_history": Recorded("fork", 20),
    "records_by_history": Recorded("failover", 571),
    "history_checked_before_build": Recorded("fork", 116),
    "replica_of_the_server": Recorded("failover", 441),
    "marks_by_history": Recorded("put back", 35),
    "event_ids_never_repeat": Recorded("fork", 7),
    "history_before_event_ids": Recorded("fork", 144),
    "last_record_compared": Recorded("log", 98),
    "reload_after_disconnect": Recorded("log", 98),
    "tokens_by_history": Recorded("fork", 2),
    "ended_lsn_bounds_tokens": Recorded("fork", 2),
    "forced_end_refuses_tokens": Recorded("put back", 12),
    "token_of_the_commits_history": Recorded("failover", 1),
}
