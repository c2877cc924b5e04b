"""The fan-out: applies the events in Kafka to the timeline lists and the tweet cache in Redis.

`consumer` polls Kafka, `checkpoints` knows how far each shard of Redis has come, and `apply` turns
a batch of records into rounds of Redis transactions. `docs/glossary.md` explains the terms.
"""
