"""The schema of Postgres, as numbered SQL files that only go forward."""
