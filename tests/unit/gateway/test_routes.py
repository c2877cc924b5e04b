"""The routes that the contract's options define."""

from __future__ import annotations

import pytest
from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from helpers.grpc_server import READ, WRITE

from gateway.requests import RequestReader
from gateway.routes import routes

COMMANDS = """
POST /users CreateUser 201
PUT /users/{user_id} UpdateUser 200
PATCH /users/{user_id} UpdateUser 200
DELETE /users/{user_id} DeleteUser 204
POST /tweets CreateTweet 201
POST /tweets:batchCreate BatchCreateTweets 200
PUT /tweets/{tweet_id} UpdateTweet 200
PATCH /tweets/{tweet_id} UpdateTweet 200
DELETE /tweets/{tweet_id} DeleteTweet 204
POST /followers FollowUser 200
DELETE /followers/{follower_id}/{followed_id} UnfollowUser 204
"""
QUERIES = """
GET /users/{user_id} GetUser 200
GET /accounts/{user_id} GetAccount 200
GET /users/username/{username} GetUserByUsername 200
GET /users:batchGet BatchGetUsers 200
POST /users:batchGet BatchGetUsers 200
GET /users ListUsers 200
GET /tweets/{tweet_id} GetTweet 200
GET /tweets:batchGet BatchGetTweets 200
POST /tweets:batchGet BatchGetTweets 200
GET /followers/{follower_id}/{followed_id} GetFollow 200
GET /timeline/{user_id} GetHomeTimeline 200
GET /timelines:batchGet BatchGetHomeTimelines 200
POST /timelines:batchGet BatchGetHomeTimelines 200
GET /tweets/user/{user_id} ListUserTweets 200
GET /followers/{user_id} ListFollowers 200
GET /following/{user_id} ListFollowing 200
GET /timeline/{user_id}/stream WatchHomeTimeline 200
"""


@pytest.mark.parametrize(("service", "table"), [(WRITE, COMMANDS), (READ, QUERIES)])
def test_the_table_of_routes(service: ServiceDescriptor, table: str) -> None:
    """Every binding of the contract is a route with its status, and there are no others."""
    found = [f"{r.verb} {r.path} {r.method.name} {r.success}" for r in routes(service)]
    assert found == table.split("\n")[1:-1]


def _service(rule: HttpRule | None) -> ServiceDescriptor:
    file = FileDescriptorProto(name="odd.proto", package="odd", syntax="proto3")
    file.message_type.append(DescriptorProto(name="Odd"))
    service = file.service.add(name="OddService")
    method = service.method.add(name="GetOdd", input_type=".odd.Odd", output_type=".odd.Odd")
    if rule:
        method.options.Extensions[annotations_pb2.http].CopyFrom(rule)
    pool = DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName("odd.OddService")


@pytest.mark.parametrize(
    "rule",
    [
        None,
        HttpRule(),
        HttpRule(get="/odd/**"),
        HttpRule(get="/odd/{name=odds/*}"),
        HttpRule(get="/odd/{a.b}"),
        HttpRule(get="/odd/"),
        HttpRule(post="/odd", body="odd"),
        HttpRule(custom={"kind": "TRACE", "path": "/odd"}),
    ],
    ids=str,
)
def test_an_unsupported_option_is_refused_at_the_start(rule: HttpRule | None) -> None:
    """A mistake in the contract raises an error that names the method, instead of a 404 later."""
    with pytest.raises(ValueError, match=r"odd\.OddService\.GetOdd has"):
        list(routes(_service(rule)))


def test_a_variable_needs_a_field() -> None:
    """A path variable that is not a field of the request is refused at the start."""
    (route,) = routes(_service(HttpRule(get="/odd/{odd_id}")))
    with pytest.raises(KeyError):
        RequestReader(route)
