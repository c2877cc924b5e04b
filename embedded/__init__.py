"""Real Postgres, Valkey and Apache Kafka on this machine, from pip-installed parts."""
