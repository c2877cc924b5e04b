"""The shared vocabulary of the feed, without I/O: shards, lists, events, checkpoints, tokens.

docs/glossary.md explains the terms.
"""
