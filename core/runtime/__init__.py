"""Running a process: start and stop, prefork, logs, metrics, background threads."""
