"""A client of Fanfare: `client` for threads, `aio` for asyncio; `errors` has what both raise."""
