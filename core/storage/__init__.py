"""Postgres, Redis and Kafka: connections, addresses, and checks of their settings."""
