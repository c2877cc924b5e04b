"""What an operator's commands do: the local system, migrations, imports, verification, recovery."""
