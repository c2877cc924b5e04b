"""Postgres, Redis and Kafka: connections, addresses, and checks of the servers' settings.

docs/glossary.md explains the terms.
"""
