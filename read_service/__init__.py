"""The read service: answers queries from timeline lists in Redis, and from Postgres.

docs/timelines.md says why timelines are exact, and docs/glossary.md what the terms mean.
"""
