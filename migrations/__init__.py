"""The schema of Postgres, as numbered SQL files; there are no down migrations."""
