"""The write service: executes commands in Postgres, and relays their events to Kafka.

A command is one transaction that changes the data and enqueues its events in the outbox. The relay
is a thread of the same process that publishes the outbox to Kafka. Terms are in docs/glossary.md.
"""
