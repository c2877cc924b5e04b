"""Attackers with normal tokens and legal calls, and what other users notice of them.

`python -m bench.attackers` measures the 95th percentile of others' calls without and with each
attacker, and fails if one of them makes a call of others three times as slow.
"""
