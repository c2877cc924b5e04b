"""What the operator's commands do: run a local system, migrate, load, verify, recover and report.

Nothing here parses options or prints, except progress on a console that `cli` passes in. A failure
is an `OpsError` whose message `cli` shows to the operator. See docs/glossary.md for the terms.
"""
