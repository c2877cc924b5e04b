"""The router, compared with aiohttp's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import chain

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from fanfare.auth.v1 import auth_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from gateway.router import NoSuchPathError, NoSuchVerbError, Router
from gateway.routes import routes

ROUTES = [
    (route.verb, route.path)
    for route in chain.from_iterable(
        map(
            routes,
            (
                read_pb2.DESCRIPTOR.services_by_name["ReadService"],
                write_pb2.DESCRIPTOR.services_by_name["WriteService"],
                auth_pb2.DESCRIPTOR.services_by_name["AuthService"],
            ),
        )
    )
]
# The contract has no two routes that match the same path.
OVERLAPPING = [
    ("GET", "/a/{x}"),
    ("PUT", "/a/b"),
    ("GET", "/a/{x}/c"),
    ("GET", "/a/b/{y}"),
    ("PATCH", "/a/b/c"),
    ("GET", "/a/{x}/{y}"),
    ("DELETE", "/a/{x}/{y}"),
]
_PARTS = st.sampled_from(
    [
        *("", "1", "x", "users", "tweets", "user", "username", "timeline", "followers", "health"),
        *("users:batchGet", "users%3AbatchGet", ".well-known", "jwks.json", "{user_id}", "%7Bx%7D"),
        *("a%2Fb", "a%252Fb", "a%25b", "%75sers", "%FF", "%", ".", "..", "é", "a+b", "a;b"),
    ]
)
_TARGETS = st.lists(_PARTS, max_size=5).map(lambda parts: "/" + "/".join(parts))
_VERBS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO"])

Found = tuple[object, Mapping[str, str]] | set[str] | None


async def _unused(_request: web.Request) -> web.StreamResponse:
    raise AssertionError


class _Both:
    """Our router and aiohttp's, with the same routes."""

    def __init__(self, among: list[tuple[str, str]]) -> None:
        self._ours: Router[tuple[str, str]] = Router()
        self._theirs = web.Application().router
        for verb, path in among:
            self._ours.add(verb, path, (verb, path))
            self._theirs.add_route(verb, path, _unused)

    def ours(self, verb: str, path: str) -> Found:
        try:
            return self._ours.find(verb, path)
        except NoSuchVerbError as error:
            return error.allowed
        except NoSuchPathError:
            return None

    def theirs(self, verb: str, url: URL) -> Found:
        request = make_mocked_request(verb, "/").clone(rel_url=url)
        match = asyncio.run(self._theirs.resolve(request))
        if isinstance(match.http_exception, web.HTTPMethodNotAllowed):
            return set(match.http_exception.allowed_methods)
        if match.http_exception is not None:
            return None
        resource = match.route.resource
        assert resource is not None
        return (verb, resource.canonical), dict(match)


CONTRACT = _Both(ROUTES)


@example(verb="GET", target="/users/username/alice")
@example(verb="GET", target="/tweets/user/5")
@example(verb="GET", target="/tweets/user")
@example(verb="POST", target="/users:batchGet")
@example(verb="GET", target="/followers/1/2")
@example(verb="PUT", target="/tweets/1%2F2")
@example(verb="GET", target="/users/%7Bx%7D")
@example(verb="GET", target="/users/{user_id}")
@example(verb="GET", target="/users/%7Dx")
@given(verb=_VERBS, target=_TARGETS)
def test_it_finds_what_aiohttp_finds(verb: str, target: str) -> None:
    """For every path, both find the same route and values, or the same verbs, or nothing."""
    url = URL.build(path=target, encoded=True)
    assert CONTRACT.ours(verb, url.path_safe) == CONTRACT.theirs(verb, url)


@pytest.mark.parametrize("verb", ["GET", "PUT", "PATCH", "DELETE", "POST"])
@pytest.mark.parametrize("path", ["/a/b", "/a/c", "/a/b/c", "/a/b/d", "/a/d/c", "/a/d/d"])
def test_routes_that_match_the_same_path(verb: str, path: str) -> None:
    """Both find the same of several routes, and the same verbs of all of them."""
    both = _Both(OVERLAPPING)
    assert both.ours(verb, path) == both.theirs(verb, URL(path))


@pytest.mark.parametrize("path", ["", "*", "a:80", "users/1"])
def test_a_target_that_is_no_path_has_no_route(path: str) -> None:
    """OPTIONS * and CONNECT have such targets."""
    assert CONTRACT.ours("GET", path) is None


@pytest.mark.parametrize("path", ["/{user_id}", "/users/{user_id}:mute", "/users/x{user_id}"])
def test_a_path_that_cannot_be_found_is_refused(path: str) -> None:
    """A contract with such a path must not start."""
    with pytest.raises(ValueError, match="begins with a variable, or has one beside other text"):
        Router[str]().add("GET", path, "")
