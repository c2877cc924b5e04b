"""The shared vocabulary of the feed, without I/O: shards, timeline lists, events, checkpoints."""
