"""What operator's commands do: run a local system, migrate, load, verify, recover and report.

`cli` parses and prints; nothing here does, except for progress on a console that it is given.
Failures are `OpsError`. See docs/glossary.md for the terms.
"""
