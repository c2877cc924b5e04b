"""Commands: gRPC to the Postgres primary, and the relay from its outbox to Kafka."""
