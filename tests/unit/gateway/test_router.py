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


def _of_aiohttp(verb: str, request: web.Request) -> Found:
    application = web.Application()
    for route_verb, path in ROUTES:
        application.router.add_route(route_verb, path, _unused)
    match = asyncio.run(application.router.resolve(request))
    if isinstance(match.http_exception, web.HTTPMethodNotAllowed):
        return set(match.http_exception.allowed_methods)
    if match.http_exception is not None:
        return None
    resource = match.route.resource
    assert resource is not None
    return (verb, resource.canonical), dict(match)


def _of_ours(verb: str, path: str) -> Found:
    router: Router[tuple[str, str]] = Router()
    for route in ROUTES:
        router.add(*route, route)
    try:
        return router.find(verb, path)
    except NoSuchVerbError as error:
        return error.allowed
    except NoSuchPathError:
        return None


@example(verb="GET", target="/users/username/alice")
@example(verb="GET", target="/tweets/user/5")
@example(verb="GET", target="/tweets/user")
@example(verb="POST", target="/users:batchGet")
@example(verb="GET", target="/followers/1/2")
@example(verb="PUT", target="/tweets/1%2F2")
@given(verb=_VERBS, target=_TARGETS)
def test_it_finds_what_aiohttp_finds(verb: str, target: str) -> None:
    """For every path, both find the same route and values, or the same verbs, or nothing."""
    request = make_mocked_request(verb, target)
    assert _of_ours(verb, request.rel_url.path_safe) == _of_aiohttp(verb, request)


@pytest.mark.parametrize("path", ["", "*", "a:80", "users/1"])
def test_a_target_that_is_no_path_has_no_route(path: str) -> None:
    """OPTIONS * and CONNECT have such targets."""
    assert _of_ours("GET", path) is None


@pytest.mark.parametrize("path", ["/{user_id}", "/users/{user_id}:mute", "/users/x{user_id}"])
def test_a_path_that_cannot_be_found_is_refused(path: str) -> None:
    """A contract with such a path must not start."""
    with pytest.raises(ValueError, match="begins with a variable, or has one beside other text"):
        Router[str]().add("GET", path, "")
