"""Queries: Redis timelines, with Postgres below and behind them."""
