"""The rules of the protocol, each of which can be left out to see what it prevents."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Rules:
    """Which rules are kept; all of them in Fanfare."""

    outbox_ids_after_locks: bool = True
    """Outbox ids are drawn after the rows are locked. Else a command that waited for another
    draws the lower id, and events of one edge or tweet stand in the wrong order."""
    unsent_rows: bool = True
    """The relay takes all unsent rows. Taking those above the last id it sent loses rows that
    were committed late."""
    position_after_selection: bool = True
    """The relay reads the WAL position for its records after it has selected the rows. Else it
    may be before their commits, and what is built from that position lacks them."""
    newest_epoch_marks: bool = True
    """Rows are marked as sent only under the newest epoch. Else a relay in the middle of a batch
    marks it as sent although a replay of older events will stand behind it."""
    replay_takes_epoch: bool = True
    """`fanfare replay` takes an epoch before it unmarks rows, so that no relay goes on marking
    what it sent before them. Else old events become the last in Kafka."""
    new_producer_new_epoch: bool = True
    """A producer built anew gets a new epoch. Else what its predecessor still had on its way
    arrives late and counts, behind newer events."""
    old_epochs_skipped: bool = True
    """Workers skip records of an epoch below the highest seen in the partition. Else a stalled
    relay that wakes puts old events behind newer ones."""
    fences_compared: bool = True
    """A batch is applied only if the progress keys say what the worker believes. Else one that
    slept while its partitions moved applies old events, and sets the keys back."""
    parts_keep_offset: bool = True
    """The parts of a batch leave offset and epoch alone until the last. Else a worker killed in
    between has skipped the rest."""
    parts_move_position: bool = True
    """Each part of a batch writes the batch's WAL position. Else a list is built between two
    parts from a Postgres that lacks what the first part has told nobody but absent lists."""
    fences_before_ranges: bool = True
    """A worker looks at the progress keys before it asks Kafka for its offsets. Else another
    worker goes on meanwhile, its offset seems to be beyond the log, and Redis is emptied."""
    topic_asked_again: bool = True
    """Now and then a worker asks whether the topic is still that of its progress keys. Else one
    created anew while the worker looked for its place is taken for the one before it."""
    arrays_dropped_with_place: bool = True
    """Follower arrays are dropped when the partition is not where this worker left it. Else they
    lack the follows that another worker has applied."""
    follows_before_pushes: bool = True
    """All follows and unfollows of a batch count before its pushes. Else a list that an unfollow
    drops, and a reader builds anew between two parts, gets tweets of the author once more."""
    lost_records_wipe: bool = True
    """When Kafka does not have the records behind a progress key, or the topic is another one,
    the key is removed. Else the lists lack what the lost records told of."""
    lists_follow_their_fence: bool = True
    """All lists and bodies are removed before an absent progress key is created. Else those that
    outlived the key lack what is below the offset of the new one."""
    created_at_end: bool = True
    """An absent progress key is created at the end of the log, whatever the group has committed.
    Else, where Kafka was restored from a copy, events are applied whose successors are lost."""
    unreadable_end_a_batch: bool = True
    """What stands before an unreadable record is applied before all is dropped for its sake. Else
    an older version, or a follow, is set after the drop, and nothing corrects it."""
    unreadable_move_position: bool = True
    """Before all is dropped for an unreadable record, the primary's WAL position of now is put
    into the progress keys. Else lists are built from a replica without what the record told of."""
    unreadable_drop_all: bool = True
    """All lists and bodies are dropped for the sake of an unreadable record. Else they lack what
    it told of."""
    unreadable_drop_arrays: bool = True
    """The partition's follower arrays are dropped for the sake of an unreadable record. Else they
    lack the follow that it told of."""
    replayed_only_drop: bool = True
    """A dead letter that is replayed sets and pushes nothing, and drops what it touches. Else it
    repeats what has been undone since."""
    wal_rule_for_lists: bool = True
    """A list is built from a Postgres that has the shard's WAL position. Else from a replica that
    lacks events which were applied before the list was there."""
    wal_rule_for_arrays: bool = True
    """Follower arrays are read from a Postgres that has the batch's WAL position. Else they lack
    follows that were applied before, for good."""
    wal_rule_for_bodies: bool = True
    """Bodies are filled from a Postgres that has the shard's WAL position. Else with a version
    older than the one whose event has been applied."""
    position_checked_before_read: bool = True
    """What a replica has replayed is asked before the read that relies on it. Asked afterwards,
    it may have replayed the position in between."""
    placeholder_before_position: bool = True
    """A list is put there before its builder reads the WAL position. Else what is applied in
    between finds no list and is not in what is read."""
    builds_lose_to_drops: bool = True
    """A build is finished only if its token is still there. Else it brings back a list that a
    follow has dropped since."""
    compaction_cuts_at_floor: bool = True
    """Compaction drops ids below a base that is cut off. Else the base pretends that nothing lies
    between its former end and an older tweet that was committed late."""
    merged_to_highest_floor: bool = True
    """A merge of lists is believed down to the highest of their floors. Else tweets that one of
    them leaves to Postgres are missing."""
    crossing_drops_lists: bool = True
    """When an author becomes pulled, the lists of all followers are dropped. Else they do not name
    the author, and lack all later tweets."""
    bodies_under_lease: bool = True
    """Only the holder of the lease fills a body. Else a slow reader puts an old text over the one
    that an event has set."""
    missing_asked_of_primary: bool = True
    """A tweet that a replica lacks is looked up on the primary. Else one too new for the replica
    counts as deleted."""
    hot_by_history: bool = True
    """Bodies in process are of a history. Else a text of a lost history is shown in the next."""
    hot_kept_when_parsed: bool = True
    """The read service keeps a body in process at the moment in which its tracked read is parsed.
    Else it keeps, a step later, what a change that was parsed meanwhile has made old."""
    hot_only_tracked: bool = True
    """Only what a tracked read returned is kept in process. Else Redis never tells of the change
    of a body that a reader kept when it filled it itself."""
    hot_forgotten_with_connection: bool = True
    """All bodies in process are forgotten when the connection breaks. Else those stay that were
    changed while nobody listened."""
    pages_at_position: bool = True
    """Pages from Postgres are of a server that has the shard's WAL position. Else one from a
    replica lacks what a page before it, or the drained shard, has told of."""
    tokens_need_position: bool = True
    """A read with a consistency token is answered by a Postgres that has its position. Else the
    command's effect may be missing."""

    restart_begins_history: bool = True
    """A history is valid on the server that it began on, until that restarts. Else a copy that
    was restored goes on with the history, and gives out its positions and ids once more."""
    keys_by_history: bool = True
    """The keys in Redis are those of a history. Else lists and positions of a lost one count."""
    records_by_history: bool = True
    """Workers count only the records of their history. Else a relay of a lost one is believed,
    and the epochs of the present one are below those seen."""
    history_checked_before_build: bool = True
    """What is built is read from a Postgres that says it is at the history. Else from a replica
    of another, whose positions mean something else."""
    replica_of_the_server: bool = True
    """A replica is believed only while it follows the server on which its history began. Else one
    of a server that has not begun its own counts what that wrote to the WAL as of the former."""
    marks_by_history: bool = True
    """Rows are marked as sent only under the relay's own history. Else a relay of the former one
    marks what it has sent to workers that do not count it, and may have the newest epoch."""
    event_ids_never_repeat: bool = True
    """A history draws event ids from the clock on. Else it gives out those of lost events."""
    history_before_event_ids: bool = True
    """A command sees to it that the history is valid before it draws event ids. Else the first
    ones on a restored copy are those of lost events."""
    last_record_compared: bool = True
    """A worker that looks for its place compares the record before it with the one that it went
    past. Else a Kafka restored from a copy has given its offset to another one."""
    place_with_connection: bool = True
    """A worker whose connection to Kafka broke looks for its place. Else Kafka was restored
    meanwhile, and is beyond its place again before it fetches."""
    tokens_by_history: bool = True
    """A token is honoured under its own history. Else a lost command's is, at a position that
    came again."""
    ended_lsn_bounds_tokens: bool = True
    """A token of an ended history is honoured up to the last position known to be shared. Else
    that of a lost command is."""
    forced_end_refuses_tokens: bool = True
    """Of a history that is ended by force, no token is honoured. Else the database was put back
    while it ran, and the heartbeat is of a position after what was lost."""
    token_of_the_commits_history: bool = True
    """A command is answered with a token only if its transaction was at the token's history. Else
    the token is of a history that has lost the command."""


ALL_RULES = Rules()


def without(rule: str) -> Rules:
    """Return all rules but one."""
    return replace(ALL_RULES, **{rule: False})
