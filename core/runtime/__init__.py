"""Running a process: start and stop, prefork, logs, metrics, background threads.

docs/glossary.md explains the terms.
"""
