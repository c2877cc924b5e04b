"""Real Postgres, Valkey and Apache Kafka on this machine, from pip-installed parts.

A stack (stack.py) is one set of servers with a state folder. Each server is a ServerProcess
(server.py), run by a keeper (keeper.py) that ends it when its parent is gone. The supervisor
(supervisor.py) restarts servers that die. See docs/glossary.md for the terms.
"""
