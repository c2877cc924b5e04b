"""The commands of `fanfare`: each parses its options, calls `ops` and prints the result.

docs/glossary.md explains the terms.
"""
