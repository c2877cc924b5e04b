"""A service must answer gRPC calls while hostile HTTP clients attack its REST port."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until

from core.rpc.request_sizes import max_json_bytes

# Far longer than a call takes, even on a busy machine where all the threads below have to wait.
CALL_SECONDS = 10.0
CALLS = 30
ATTACK_SECONDS = 200.0
# How many connections to hold open for each kind of request that never ends.
HELD_CONNECTIONS = 100
PATHS = {"write": "/tweets:batchCreate", "read": "/users:batchGet"}
# The largest bodies that the paths take.
BODY_BYTES = {
    "write": max_json_bytes(w.BatchCreateTweetsRequest.DESCRIPTOR),
    "read": max_json_bytes(r.BatchGetUsersRequest.DESCRIPTOR),
}


def _post(path: str, body: bytes, length: int | None = None) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {length or len(body)}\r\n\r\n"
    return head.encode() + body


def _get(target: str, header: str = "X: y") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n".encode()


def _large(size: int, start: bytes, item: bytes, separator: bytes, end: bytes) -> bytes:
    count = (size - len(start) - len(end)) // len(item + separator) - 1
    return start + separator.join([item] * count) + end


def _requests(service: str) -> dict[str, bytes]:
    """Return requests that must be refused, by the name of what is wrong with them."""
    path, size = PATHS[service], BODY_BYTES[service]
    return {
        "tiny objects": _post(path, _large(size, b'{"user_ids": [', b"{}", b",", b"]}")),
        "numbers": _post(path, _large(size, b'{"requests": [', b"1", b",", b"]}")),
        "one text": _post(path, _large(size, b'{"requests": "', b"x", b"", b'"}')),
        "deep lists": _post(path, b"[" * (size - 1)),
        "deep objects": _post(path, b'{"a":' * (size // 5 - 1)),
        "a body over the limit": _post(path, b"x" * (size + 1)),
        "a long path": _get("/" * 65_000),
        "many headers": _get("/", "\r\n".join(f"X{n}: a" for n in range(200))),
    }


def _held(path: str) -> dict[str, bytes]:
    """Return beginnings of requests that never end, by name."""
    return {
        "nothing": b"",
        "half a head": b"GET /users/1 HTTP/1.1\r\nHost:",
        "half a body": _post(path, b'{"user_ids": [', 1000),
    }


def _ask(fanfare: Fanfare, service: str) -> Callable[[], object]:
    """Return a function that makes a gRPC call of the service, which must succeed."""
    author, reader = fanfare.user(), fanfare.user()
    get = r.GetUserRequest(user_id=reader.id)
    follow = w.FollowUserRequest(follower_id=reader.id, followed_id=author.id)
    if service == "read":
        return lambda: fanfare.read.GetUser(get, timeout=CALL_SECONDS)
    return lambda: fanfare.write.FollowUser(follow, timeout=CALL_SECONDS)


@pytest.mark.parametrize("service", PATHS)
def test_grpc_calls_are_answered_while_http_clients_misbehave(
    fanfare: Fanfare, service: str
) -> None:
    """No gRPC call stalls because of slow or large requests, deep bodies or long paths."""
    port = getattr(fanfare.settings, f"rest_{service}_port")
    ask = _ask(fanfare, service)
    stopping = threading.Event()
    refused: set[str] = set()

    def attack(name: str, request: bytes) -> None:
        while not stopping.is_set():
            # The server may close the connection before it has read all of the request.
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
                with suppress(OSError):
                    connection.sendall(request)
                status = connection.recv(12)
                if status[8:10] == b" 4":
                    refused.add(name)

    attacks = _requests(service)
    threads = [threading.Thread(target=attack, args=item) for item in attacks.items()]
    calls = itertools.count(1)

    def is_enough() -> bool:
        ask()
        return next(calls) >= CALLS and refused == set(attacks)

    with ExitStack() as stack:
        for start in _held(PATHS[service]).values():
            for _ in range(HELD_CONNECTIONS):
                held = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                held.sendall(start)
        for thread in threads:
            thread.start()
        try:
            wait_until(is_enough, "every kind of request is refused", ATTACK_SECONDS)
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
    assert fanfare.rest("GET", "/users?limit=1")[0] == 200
