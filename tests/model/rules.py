"""The rules of the protocol, each of which can be left out to see what it prevents."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Rules:
    """Which rules are kept. Fanfare keeps all of them."""

    outbox_ids_after_locks: bool = True
    """Outbox ids are drawn after the rows are locked. Otherwise a command that waited for another
    command draws the lower id, and events of one edge or tweet get the wrong order."""
    unsent_rows: bool = True
    """The relay sends all unsent rows. If it sent only rows above the last id that it sent, it
    would miss rows that are committed late."""
    mark_waits_for_transactions: bool = True
    """The relay does not look below a low-water mark, which it raises to an id only when all
    transactions that were in progress after the id was drawn have ended. Otherwise it would miss
    rows that are committed late."""
    mark_ends_with_epoch: bool = True
    """A new epoch begins with a low-water mark of 0. Otherwise the relay would not see the rows
    that a replay has unmarked."""
    partitions_locked: bool = True
    """The relay locks a partition of the outbox before it looks whether all rows in it are sent,
    and until it has emptied it. Otherwise it removes rows that are committed, or unmarked by a
    replay, in between."""
    replay_after_removed: bool = True
    """`fanfare replay` unmarks only rows that were sent after every row that was removed with a
    partition. Otherwise older rows are sent again without the newer ones that followed them, and
    become the last in Kafka."""
    lsn_after_selection: bool = True
    """The relay reads the LSN for its records after it has selected the rows. Otherwise the LSN may
    be before their commits, and what is built from a Postgres at that LSN lacks them."""
    newest_epoch_marks: bool = True
    """Rows are marked as sent only under the newest epoch. Otherwise a relay in the middle of a
    batch marks the batch as sent although a replay will put older events after it in Kafka."""
    replay_takes_epoch: bool = True
    """`fanfare replay` takes an epoch before it unmarks rows. Otherwise a relay continues to mark
    the rows that it sent before the replay, and old events become the last in Kafka."""
    new_producer_new_epoch: bool = True
    """A new producer gets a new epoch. Otherwise records that its predecessor had in flight arrive
    late, and count after newer events."""
    stale_epochs_skipped: bool = True
    """Workers skip records of an epoch below the highest one seen in the partition. Otherwise a
    stalled relay that wakes up puts old events after newer ones."""
    checkpoints_compared: bool = True
    """A batch is applied only if the stored checkpoints are the expected ones. Otherwise a worker
    that was paused while its partitions moved applies old events, and sets checkpoints back."""
    chunks_keep_offset: bool = True
    """Only the last chunk of a batch moves offset and epoch. Otherwise, if a worker is killed
    between two chunks, the rest of the batch is never applied."""
    chunks_move_lsn: bool = True
    """Each chunk of a batch stores the batch's LSN. Otherwise a list can be built between two
    chunks from a Postgres that lacks what the first chunk has applied."""
    chunks_have_ids: bool = True
    """Each chunk but the last of a batch stores an id of its own. Otherwise a worker that was
    paused between two chunks goes on after another worker has begun the batch again, and sets an
    old text whose successor has been applied and has expired."""
    checkpoints_before_ranges: bool = True
    """A worker reads the checkpoints before it asks Kafka for the offset ranges. Otherwise another
    worker moves on in between, its offset seems to be beyond the partition's end, and all
    caches are dropped."""
    topic_asked_again: bool = True
    """A worker asks regularly whether the topic is still the one of its checkpoints. Otherwise, if
    the topic is recreated while checkpoints are loaded, it is taken for the former one."""
    followers_dropped_with_checkpoints: bool = True
    """The follower index forgets a partition together with its checkpoints. Otherwise it lacks
    follows that another worker has applied."""
    follows_before_pushes: bool = True
    """All follows and unfollows of a batch count before its pushes. Otherwise a list that an
    unfollow drops, and that is rebuilt between two chunks, gets tweets of the author again."""
    lost_records_wipe: bool = True
    """A checkpoint is removed when Kafka does not have the records after it, or the topic is
    another one. Otherwise the lists lack the effect of the lost records."""
    caches_dropped_with_checkpoints: bool = True
    """All lists and the tweet cache are dropped before an absent checkpoint is created. Otherwise
    those that outlived the checkpoint lack everything below the new offset."""
    created_at_end: bool = True
    """An absent checkpoint is created at the end of its partition, whatever offset the group has
    committed. Otherwise, after a restore of Kafka, old events are applied although the newer events
    that followed them are lost."""
    unreadable_end_a_batch: bool = True
    """Records before an unreadable one are applied before everything is dropped because of it.
    Otherwise an older version, or a follow, is set after the drop, and nothing corrects it."""
    unreadable_move_lsn: bool = True
    """Before everything is dropped because of an unreadable record, the primary's current LSN goes
    into the checkpoints. Otherwise lists are built from a replica that lacks the record's
    effect."""
    unreadable_drop_all: bool = True
    """All lists and the tweet cache are dropped because of an unreadable record. Otherwise they
    lack the record's effect."""
    unreadable_drop_followers: bool = True
    """The follower index forgets the partition because of an unreadable record. Otherwise it lacks
    the follow that the record was about."""
    replayed_only_drop: bool = True
    """A replayed dead letter sets and pushes nothing, and only drops what it concerns. Otherwise it
    repeats what has been undone since."""
    wal_rule_for_lists: bool = True
    """A list is built from a Postgres that has reached the shard's LSN. Otherwise it may be built
    from a replica that lacks events which were applied before the list existed."""
    wal_rule_for_followers: bool = True
    """Followers are read from a Postgres that has reached the batch's LSN. Otherwise the index
    lacks, for good, follows that were applied before."""
    wal_rule_for_tweet_cache: bool = True
    """The tweet cache is filled from a Postgres that has reached the shard's LSN. Otherwise it may
    be filled with a version older than the one whose event has been applied."""
    lsn_checked_before_read: bool = True
    """The LSN of a replica is checked before the read that relies on it. If it is checked
    afterwards, the replica may have reached the LSN only after the read."""
    placeholder_before_lsn: bool = True
    """A builder puts its placeholder into Redis before it reads the LSN. Otherwise a tweet that is
    applied in between finds no list to be pushed to, and the builder may not read it either."""
    builds_lose_to_drops: bool = True
    """A build is finished only if its build lease is still there. Otherwise it brings back a list
    that a follow has dropped since."""
    compaction_cuts_at_floor: bool = True
    """Compaction of an incomplete list drops ids below its floor. Otherwise an older tweet that was
    committed late becomes the floor, and tweets between it and the former floor are missing."""
    merged_to_highest_floor: bool = True
    """A merge of lists is complete only down to the highest of their floors. Otherwise tweets that
    one of the lists leaves to Postgres are missing."""
    crossing_drops_lists: bool = True
    """When an author becomes a pull author, the lists of all followers are dropped. Otherwise they
    do not name the author, and lack all later tweets."""
    tweet_cache_under_lease: bool = True
    """Only the holder of the fill lease fills a tweet cache entry. Otherwise a slow reader replaces
    a text that an event has set with an older text."""
    missing_asked_of_primary: bool = True
    """A tweet that a replica lacks is looked up on the primary. Otherwise one that is too new for
    the replica counts as deleted."""
    absent_asked_of_primary: bool = True
    """A tweet by id that neither Redis nor the replica has is looked up on the primary. Otherwise
    one that is too new for the replica counts as absent."""
    read_again_under_lease: bool = True
    """A tweet by id that was found when its existence was asked is read again after the fill lease
    was taken. Otherwise the tweet cache may be filled with a version from before the lease, whose
    successor has been applied and has expired."""
    local_cache_by_history: bool = True
    """The local tweet cache belongs to a history. Otherwise a text of a lost history is shown in
    the next."""
    local_cache_put_when_parsed: bool = True
    """The read service puts a tweet into its local cache at the moment when it parses the reply of
    the tracked read. One step later, it may have parsed a change of the tweet in between, and would
    put the old version."""
    local_cache_only_tracked: bool = True
    """Only the results of tracked reads go into the local cache. Otherwise Redis never reports the
    change of a tweet that a reader put there when it filled the tweet cache itself."""
    local_cache_cleared_with_connection: bool = True
    """The local cache is cleared when the connection breaks. Otherwise it keeps tweets that changed
    while nobody listened."""
    barrier_before_local_lists: bool = True
    """A list that is kept in the process is used only after a barrier: the reply to a command that
    the call has sent. Otherwise Redis may have reported a change that is not parsed yet."""
    barrier_sent_after_call: bool = True
    """A call shares a barrier only if it is sent after the call arrived. Otherwise the reply may
    precede the report of a change that was drained before the call."""
    pages_at_lsn: bool = True
    """Pages from Postgres come from a server that has reached the shard's LSN. Otherwise a page
    from a replica lacks tweets that an earlier page has shown, or that the shard has applied."""
    tokens_need_lsn: bool = True
    """A read with a consistency token is answered by a Postgres that has reached its LSN. Otherwise
    the effect of the command may be missing."""

    restart_begins_history: bool = True
    """A history is valid on the server on which it began, until that server restarts. Otherwise a
    restored copy continues the history, and gives out its LSNs and ids again."""
    keys_by_history: bool = True
    """The keys in Redis belong to a history. Otherwise lists and checkpoints of a lost history are
    used."""
    records_by_history: bool = True
    """Workers apply only records of their history. Otherwise they apply those of a lost history,
    whose relay may have a higher epoch, and then skip records of the current one."""
    history_checked_before_build: bool = True
    """Cached data is built from a Postgres that says it is at the history. Otherwise it may be
    built from a replica of another history, whose LSNs mean something else."""
    replica_of_the_server: bool = True
    """A replica is believed only while it follows the server on which its history began. Otherwise
    a replica of a server that has not begun its own history yet counts that server's WAL as the
    former history's."""
    marks_by_history: bool = True
    """Rows are marked as sent only under the relay's own history. Otherwise a relay of the former
    history marks rows that no worker applies, because it sent them under that history; its epoch
    may be the newest."""
    event_ids_never_repeat: bool = True
    """The event ids of a new history begin at the current time in microseconds. Otherwise it gives
    out the ids of lost events again."""
    history_before_event_ids: bool = True
    """A command makes sure that the history is valid before it draws event ids. Otherwise the first
    ids on a restored copy are those of lost events."""
    last_record_compared: bool = True
    """A worker that loads a checkpoint compares the record before the offset with the last one that
    was applied. Otherwise a restored Kafka may have given the offset to another record."""
    reload_after_disconnect: bool = True
    """A worker whose connection to Kafka broke loads its checkpoints. Otherwise, if Kafka was
    restored and has grown beyond the worker's offset again, the worker misses the records below
    it."""
    tokens_by_history: bool = True
    """The LSN of a consistency token is compared within the token's history. Otherwise the token of
    a lost command is honoured once the new history reaches the same LSN."""
    ended_lsn_bounds_tokens: bool = True
    """A consistency token of an ended history is honoured only up to the last LSN that both
    histories are known to share. Otherwise the token of a lost command is honoured too."""
    forced_end_refuses_tokens: bool = True
    """No consistency token of a history that was ended by force is honoured. Older rows were loaded
    into the running database, so the LSN of its heartbeat does not exclude the lost commands."""
    token_of_the_commits_history: bool = True
    """A command returns a consistency token only if its transaction was committed in the token's
    history. Otherwise the token may name a history that has lost the command."""


ALL_RULES = Rules()


def without(rule: str) -> Rules:
    """Return all rules but one."""
    return replace(ALL_RULES, **{rule: False})
