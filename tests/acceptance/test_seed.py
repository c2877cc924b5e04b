"""The REST examples of the first specification, on an empty database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until

from ops.system import System


@pytest.fixture(scope="module")
def empty(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system with an empty database."""
    with Fanfare(start_system()) as clients:
        yield clients


def test_the_examples_of_the_specification(empty: Fanfare) -> None:
    """Every example answers as the specification says, in its order."""
    alice = {"username": "alice", "email": "alice@example.com", "password": "pass123"}
    bob = {"username": "bob", "email": "bob@example.com", "password": "pass456"}
    status, answer, _ = empty.rest("POST", "/users", alice)
    assert (status, answer["user"]["id"], answer["user"]["username"]) == (201, "1", "alice")
    assert "password" not in str(answer)
    assert "@" not in str(answer)
    assert empty.rest("POST", "/users", bob)[1]["user"]["id"] == "2"
    follow = {"follower_id": 1, "followed_id": 2}
    assert empty.rest("POST", "/followers", follow)[0] == 200
    tweet = {"user_id": 2, "content": "Hello from Bob!"}
    status, answer, _ = empty.rest("POST", "/tweets", tweet)
    assert (status, answer["tweet"]["user_id"]) == (201, "2")

    def timeline(path: str = "/timeline/1") -> list[str]:
        status, answer, _ = empty.rest("GET", path)
        assert status == 200
        return [item["content"] for item in answer["tweets"]]

    wait_until(lambda: timeline() == ["Hello from Bob!"], "Bob's tweet reaches Alice")
    assert timeline("/timeline/1?limit=10&offset=0") == ["Hello from Bob!"]

    john = {"username": "john_doe", "email": "john@example.com", "password": "securepassword123"}
    assert empty.rest("POST", "/users", john)[0] == 201
    changed = {
        "username": "john_updated",
        "email": "john.new@example.com",
        "password": "newsecurepassword",
    }
    status, answer, _ = empty.rest("PUT", "/users/1", changed)
    assert (status, answer["user"]["username"]) == (200, "john_updated")
    status, answer, _ = empty.rest("GET", "/users")
    assert [user["username"] for user in answer["users"]] == ["john_updated", "bob", "john_doe"]
    assert empty.rest("GET", "/users/1")[1]["user"]["id"] == "1"
    own = {"user_id": 1, "content": "Hello, Twitter! This is my first tweet."}
    assert empty.rest("POST", "/tweets", own)[0] == 201
    status, answer, _ = empty.rest("DELETE", "/tweets/1")
    assert (status, answer["code"]) == (404, 5)
    assert [t["content"] for t in empty.rest("GET", "/tweets/user/1")[1]["tweets"]] == [
        "Hello, Twitter! This is my first tweet."
    ]
    assert [u["id"] for u in empty.rest("GET", "/followers/2")[1]["users"]] == ["1"]
    assert [u["id"] for u in empty.rest("GET", "/following/1")[1]["users"]] == ["2"]
    assert empty.rest("POST", "/followers", follow)[0] == 200
    status, answer, _ = empty.rest("DELETE", "/followers/1/2")
    assert (status, answer) == (204, None)
    wait_until(lambda: timeline() == [], "Bob's tweet leaves Alice's timeline")


def test_paths_that_the_specification_leaves_out(empty: Fanfare) -> None:
    """Single tweets, updates, batches and look-ups have paths in the same style."""
    user = empty.rest(
        "POST", "/users", {"username": "zoe", "email": "zoe@example.com", "password": "p"}
    )[1]["user"]
    batch = {"requests": [{"user_id": user["id"], "content": text} for text in ("one", " ", "two")]}
    status, answer, _ = empty.rest("POST", "/tweets:batchCreate", batch)
    assert status == 200
    one, blank, two = answer["results"]
    assert blank["error"]["details"][0]["reason"] == "INVALID_REQUEST"
    path = f"/tweets/{one['tweet']['id']}"
    assert empty.rest("PUT", path, {"content": "uno"})[1]["tweet"]["content"] == "uno"
    assert empty.rest("PATCH", path, {"content": "eins"})[0] == 200
    wait_until(
        lambda: empty.rest("GET", path)[1]["tweet"]["content"] == "eins", "the new text shows"
    )
    both = f"/tweets:batchGet?tweet_ids={two['tweet']['id']}&tweet_ids={one['tweet']['id']}"
    assert [t["content"] for t in empty.rest("GET", both)[1]["tweets"]] == ["two", "eins"]
    assert empty.rest("GET", "/users/username/ZOE")[1]["user"]["id"] == user["id"]
    assert empty.rest("GET", f"/users:batchGet?user_ids={user['id']}")[0] == 200
    assert empty.rest("GET", f"/timelines:batchGet?user_ids={user['id']}&user_ids=99999")[0] == 200
    assert empty.rest("GET", f"/followers/{user['id']}/1")[0] == 404
    assert empty.rest("PATCH", f"/users/{user['id']}", {"bio": "hi"})[1]["user"]["bio"] == "hi"
    assert empty.rest("DELETE", path)[0] == 204
    assert empty.rest("DELETE", f"/users/{user['id']}")[0] == 204
    assert empty.rest("GET", f"/users/{user['id']}")[0] == 404
