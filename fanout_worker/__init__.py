"""The fan-out: Kafka to Redis timelines."""
