"""What tests share: clients of a running system, servers to test against, backups, traffic."""
