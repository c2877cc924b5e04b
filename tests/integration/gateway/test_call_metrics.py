"""What the metrics say after REST calls."""

from __future__ import annotations

from core.errors import TweetNotFoundError

from .fakes import Client, Fake, handled


async def test_calls_are_counted_by_route_and_status(queries: Client, read: Fake) -> None:
    """The labels are the templates of the contract, and nothing that a caller sends."""
    before = handled()
    routes = {labels[:2] for labels in before}
    read.answers["GetTweet"] = TweetNotFoundError(7)
    for path in ("/timeline/1", "/timeline/2?limit=3", "/tweets/7", "/secret/1", "/health"):
        await queries.send("GET", path)
    await queries.send("HEAD", "/timeline/1")
    await queries.send("GET", "/timeline/x")
    await queries.send("PUT", "/timeline/1")
    await queries.send("OPTIONS", "/timeline/1", Origin="https://app.example")
    assert handled() - before == {
        ("GET", "/timeline/{user_id}", "200"): 3,
        ("GET", "/timeline/{user_id}", "400"): 1,
        ("GET", "/tweets/{tweet_id}", "404"): 1,
        ("GET", "/health", "200"): 1,
        ("other", "other", "404"): 1,
        ("other", "other", "405"): 1,
        ("other", "other", "204"): 1,
    }
    # All of them existed before.
    assert {labels[:2] for labels in handled()} == routes
