"""The schema of Postgres: numbered SQL files, applied in order by `fanfare migrate`."""
