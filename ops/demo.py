"""The steps of `fanfare demo`: calls to a running system, printed as commands to type."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from rich.console import Console

from core.auth.authorizer import METADATA_KEY
from core.rpc.tls import client_context, open_channel, open_url
from core.settings import Settings
from ops.certificates import client_options
from ops.errors import OpsError

FAN_OUT_SECONDS = 30.0
CALL_SECONDS = 10.0

WRITE = write_pb2.DESCRIPTOR.services_by_name["WriteService"]
READ = read_pb2.DESCRIPTOR.services_by_name["ReadService"]

Answer = dict[str, Any]


class Demo:
    """Makes the calls of the demo on a running system, and prints them."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings = settings
        self._console = console
        tls = settings.tls_dir
        self._context = client_context(tls)
        shown = None if tls is None else Path(tls.name)
        self._scheme, self._trust, self._plain = client_options(shown)
        # Access tokens by user id; empty if authentication is off.
        self._tokens: dict[str, str] = {}

    def run(self) -> None:
        """Take all steps.

        Raises:
            OpsError: a step failed; those after it are not taken.
        """
        self._title("The main workflow over REST")
        alice = self._rest("POST", "/users", _new_user("alice", "pass123"))["user"]["id"]
        bob = self._rest("POST", "/users", _new_user("bob", "pass456"))["user"]["id"]
        if self._settings.auth_keys is not None:
            self._sign_in("alice", "pass123")
            self._sign_in("bob", "pass456")
            self._refuse_strangers(alice, bob)
        edge = {"follower_id": int(alice), "followed_id": int(bob)}
        self._rest("POST", "/followers", edge, caller=alice)
        tweet = {"user_id": int(bob), "content": "Hello from Bob!"}
        hello = self._rest("POST", "/tweets", tweet, caller=bob)["tweet"]["id"]
        self._wait_for("the fan-out has pushed the tweet to Alice", alice, ["Hello from Bob!"])
        self._rest("GET", f"/timeline/{alice}", caller=alice)

        self._title("The same over gRPC")
        users = {}
        for name in ("carol", "dave"):
            created = self._rpc(WRITE, "CreateUser", _new_user(name, "pass789"))
            users[name] = created["user"]["id"]
            if self._settings.auth_keys is not None:
                self._sign_in(name, "pass789")
        carol, dave = users["carol"], users["dave"]
        follow = {"follower_id": carol, "followed_id": dave}
        self._rpc(WRITE, "FollowUser", follow, caller=carol)
        tweet = {"user_id": dave, "content": "Hello from Dave!"}
        self._rpc(WRITE, "CreateTweet", tweet, caller=dave)
        self._wait_for("the fan-out has pushed the tweet to Carol", carol, ["Hello from Dave!"])
        self._rpc(READ, "GetHomeTimeline", {"user_id": carol, "limit": 10}, caller=carol)

        self._title("A deleted tweet leaves every timeline")
        tweet = {"user_id": int(bob), "content": "Hello again from Bob!"}
        self._rest("POST", "/tweets", tweet, caller=bob)
        both = ["Hello again from Bob!", "Hello from Bob!"]
        self._wait_for("Alice sees both", alice, both)
        self._rest("DELETE", f"/tweets/{hello}", caller=bob)
        self._wait_for("the deleted tweet has left", alice, both[:1])
        self._rest("GET", f"/timeline/{alice}", caller=alice)

        self._title("Unfollowing removes an author's tweets, following adds all of them")
        self._rest("DELETE", f"/followers/{alice}/{bob}", caller=alice)
        self._wait_for("Alice's timeline is empty", alice, [])
        self._rest("GET", f"/timeline/{alice}", caller=alice)
        self._rest("POST", "/followers", edge, caller=alice)
        self._wait_for("Bob's earlier tweet is back", alice, both[:1])
        self._rest("GET", f"/timeline/{alice}", caller=alice)

    def _sign_in(self, name: str, password: str) -> None:
        """Begin a session; later steps of this user carry its access token."""
        credentials = {"username": name, "password": password}
        line = f"curl -X POST {self._url('POST', '/sessions')}{self._trust}"
        line += f" -H 'Content-Type: application/json' -d '{json.dumps(credentials)}'"
        self._print_step(line)
        session = self._fetch("POST", "/sessions", credentials)["session"]
        self._tokens[session["user_id"]] = session["access_token"]
        secrets = {key: _short(session[key]) for key in ("access_token", "refresh_token")}
        self._print_answer({"session": session | secrets})

    def _refuse_strangers(self, alice: str, bob: str) -> None:
        """Show that a user cannot read another's timeline or follow in another's name."""
        edge = {"follower_id": int(bob), "followed_id": int(alice)}
        self._rest("GET", f"/timeline/{alice}", refused=401)
        self._rest("GET", f"/timeline/{alice}", caller=bob, refused=403)
        self._rest("POST", "/followers", edge, caller=alice, refused=403)

    def _title(self, text: str) -> None:
        self._console.print(f"\n[bold]## {text}[/bold]")

    def _rest(
        self, verb: str, path: str, body: Answer | None = None, caller: str = "", refused: int = 0
    ) -> Answer:
        """Take a step over REST, printed as a curl command; return the JSON of the answer.

        Args:
            verb: the HTTP method.
            path: the path of the URL.
            body: the JSON to send, if any.
            caller: the id of the user whose access token to send, if any.
            refused: the status with which the call must fail; 0 if it must succeed.
        """
        line = f"curl -X {verb} " if verb != "GET" else "curl "
        line += self._url(verb, path) + self._trust
        if caller in self._tokens:
            line += f" -H 'Authorization: Bearer {_short(self._tokens[caller])}'"
        if body is not None:
            line += f" -H 'Content-Type: application/json' -d '{json.dumps(body)}'"
        self._print_step(line)
        answer = self._fetch(verb, path, body, caller, refused)
        self._print_answer(answer or "(no content)")
        return answer

    def _rpc(
        self, service: ServiceDescriptor, method: str, body: Answer, caller: str = ""
    ) -> Answer:
        """Take a step over gRPC, printed as a grpcurl command; return the answer as JSON."""
        write = service is WRITE
        settings = self._settings
        target = settings.write_service_target() if write else settings.read_service_target()
        name = f"{service.full_name}/{method}"
        line = f"grpcurl {self._plain} -d '{json.dumps(body)}'"
        metadata: tuple[tuple[str, str], ...] = ()
        if caller in self._tokens:
            token = self._tokens[caller]
            line += f" -H 'Authorization: Bearer {_short(token)}'"
            metadata = ((METADATA_KEY, f"Bearer {token}"),)
        self._print_step(f"{line} {target} {name}")
        request_class = GetMessageClass(service.methods_by_name[method].input_type)
        response_class = GetMessageClass(service.methods_by_name[method].output_type)
        with open_channel(target, settings.tls_dir) as channel:
            call = channel.unary_unary(
                f"/{name}",
                request_serializer=request_class.SerializeToString,
                response_deserializer=response_class.FromString,
            )
            try:
                request = json_format.ParseDict(body, request_class())
                response = call(request, metadata=metadata, timeout=CALL_SECONDS)
            except grpc.RpcError as error:
                raise OpsError(f"{name} failed: {error}") from error
        answer = json_format.MessageToDict(response, preserving_proto_field_name=True)
        self._print_answer(answer)
        return answer

    def _wait_for(self, what: str, user_id: str, contents: list[str]) -> None:
        """Wait until the user's timeline has exactly these contents, newest first."""

        def seen() -> list[str]:
            timeline = self._fetch("GET", f"/timeline/{user_id}", caller=user_id)
            return [tweet["content"] for tweet in timeline["tweets"]]

        self._console.print(f"[dim]... waiting until {what}[/dim]", highlight=False)
        poll(lambda: seen() == contents, FAN_OUT_SECONDS, lambda: f"{what}: it shows {seen()}")

    def _url(self, verb: str, path: str) -> str:
        settings = self._settings
        port = settings.rest_read_port if verb == "GET" else settings.rest_write_port
        return f"{self._scheme}://{settings.local_address(port)}{path}"

    def _fetch(
        self, verb: str, path: str, body: Answer | None = None, caller: str = "", refused: int = 0
    ) -> Answer:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if caller in self._tokens:
            headers["Authorization"] = f"Bearer {self._tokens[caller]}"
        # The URL is always on this machine.
        request = urllib.request.Request(  # noqa: S310
            self._url(verb, path),
            method=verb,
            data=json.dumps(body).encode() if body is not None else None,
            headers=headers,
        )
        try:
            with open_url(request, self._context, CALL_SECONDS) as response:
                text = response.read()
            if refused:
                raise OpsError(f"{verb} {path} succeeded, but must fail with status {refused}")
        except urllib.error.HTTPError as error:
            if error.code == refused:
                told: Answer = json.loads(error.read())
                return told
            raise OpsError(
                f"{verb} {path} failed with status {error.code}: {error.read().decode()}"
            ) from error
        except OSError as error:
            raise OpsError(f"{verb} {path} got no answer: {error}") from error
        answer: Answer = json.loads(text) if text else {}
        return answer

    def _print_step(self, line: str) -> None:
        self._console.print(f"\n$ {line}", markup=False, highlight=False, soft_wrap=True)

    def _print_answer(self, answer: Answer | str) -> None:
        text = (
            answer if isinstance(answer, str) else json.dumps(answer, indent=2, ensure_ascii=False)
        )
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def poll(condition: Callable[[], bool], seconds: float, failure: Callable[[], str]) -> None:
    """Wait until the condition holds; raise OpsError with the text of failure() if it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise OpsError(f"not within {seconds:.0f} s: {failure()}")
        time.sleep(0.02)


def _new_user(name: str, password: str) -> Answer:
    return {"username": name, "email": f"{name}@example.com", "password": password}


def _short(token: str) -> str:
    """Return the beginning of a token: anybody who sees a whole token could use it."""
    return f"{token[:8]}..."
