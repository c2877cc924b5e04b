"""Sessions and permissions, on a system with authentication and TLS."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from argon2 import PasswordHasher
from fanfare.auth.v1 import auth_pb2 as a
from fanfare.auth.v1.auth_pb2_grpc import AuthServiceStub
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import failure
from helpers.people import People, Person
from helpers.waiting import wait_until
from psycopg import sql

from core.feed.consistency_tokens import encode_token
from core.feed.history import Lsn, Moment
from core.rpc.tls import client_context, open_channel
from ops.certificates import Authority
from ops.system import System
from write_service.refresh_tokens import MAX_SESSIONS

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture(scope="module")
def people(start_system: Callable[..., System]) -> Iterator[People]:
    """Yield the people of a separate system."""
    system = start_system(auth=True, FANFARE_TRUSTED_PROXIES="127.0.0.1")
    target = system.settings.write_service_target()
    with Fanfare(system) as fanfare, open_channel(target, system.settings.tls_dir) as channel:
        yield People(fanfare, AuthServiceStub(channel))
    system.stop()


def test_a_failed_sign_in_does_not_reveal_the_cause(people: People) -> None:
    """An unknown name, a wrong password and a user without a password get the same answer."""
    person = people.person()
    imported = f"imported_{uuid.uuid4().hex[:8]}"
    people.fanfare.sql("INSERT INTO users (username) VALUES (%s)", imported)
    answers = {
        str(failure(lambda name=name: people.sign_in(name, "wrong")))  # type: ignore[misc]
        for name in (person.user.username, imported, "nobody_at_all")
    }
    assert len(answers) == 1
    assert "INVALID_CREDENTIALS" in answers.pop()
    assert people.sign_in(person.user.username.upper(), person.password).user_id == person.user.id


def test_a_refresh_token_can_be_used_once(people: People) -> None:
    """A refresh token that is used again, by its user or a thief, ends the session."""
    first = people.person().session
    second = people.refresh(first.refresh_token)
    third = people.refresh(second.refresh_token)
    assert third.user_id == first.user_id
    for token in (first.refresh_token, third.refresh_token, "no token", "A" * 64):
        assert failure(lambda token=token: people.refresh(token)).reason == (  # type: ignore[misc]
            "INVALID_REFRESH_TOKEN"
        )


def test_a_session_ends(people: People) -> None:
    """RevokeSession, a new password and the deletion of the user end sessions."""
    person = people.person()
    other = people.sign_in(person.user.username, person.password)
    people.auth.RevokeSession(a.RevokeSessionRequest(refresh_token=other.refresh_token))
    people.auth.RevokeSession(a.RevokeSessionRequest(refresh_token=other.refresh_token))
    assert failure(lambda: people.refresh(other.refresh_token)).code is UNAUTHENTICATED
    session = people.refresh(person.session.refresh_token)

    change = w.UpdateUserRequest(user_id=person.user.id, password=person.password + "-another")
    people.fanfare.write.UpdateUser(change, metadata=person.metadata)
    assert failure(lambda: people.refresh(session.refresh_token)).code is UNAUTHENTICATED
    with pytest.raises(grpc.RpcError):
        people.sign_in(person.user.username, person.password)

    session = people.sign_in(person.user.username, person.password + "-another")
    person = replace(person, session=session)
    people.fanfare.write.DeleteUser(
        w.DeleteUserRequest(user_id=person.user.id), metadata=person.metadata
    )
    assert failure(lambda: people.refresh(session.refresh_token)).code is UNAUTHENTICATED
    assert not people.fanfare.sql("SELECT id FROM sessions WHERE user_id = %s", person.user.id)


def test_a_user_has_a_limited_number_of_sessions(people: People) -> None:
    """One session too many ends the session that was refreshed least recently."""
    person = people.person()
    people.fanfare.sql(
        "INSERT INTO sessions (id, user_id, secret_sha256, expires_at)"
        " SELECT gen_random_uuid(), %s, '', now() + n * interval '1 minute'"
        " FROM generate_series(1, %s) AS n RETURNING id",
        person.user.id,
        MAX_SESSIONS,
    )
    newest = people.sign_in(person.user.username, person.password)
    rows = people.fanfare.sql(
        "SELECT count(*), min(expires_at) > now() + interval '70 seconds' FROM sessions"
        " WHERE user_id = %s",
        person.user.id,
    )
    assert rows == [(MAX_SESSIONS, True)]
    assert people.refresh(newest.refresh_token).user_id == person.user.id


def test_an_outdated_hash_is_replaced_once(people: People) -> None:
    """Several simultaneous sign-ins with the right password all get a session."""
    person = people.person()
    old = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(person.password)
    (hash_now,) = people.fanfare.sql(
        "UPDATE users SET password_hash = %s WHERE id = %s RETURNING password_hash",
        old,
        person.user.id,
    )
    assert hash_now == (old,)
    with ThreadPoolExecutor(4) as pool:
        sessions = list(
            pool.map(lambda _: people.sign_in(person.user.username, person.password), range(4))
        )
    assert len({session.refresh_token for session in sessions}) == len(sessions)
    ((replaced,),) = people.fanfare.sql(
        "SELECT password_hash FROM users WHERE id = %s", person.user.id
    )
    assert replaced != old


def test_users_cannot_act_for_each_other(people: People) -> None:
    """A command on behalf of another user is refused and changes nothing."""
    alice, bob = people.person(), people.person()
    write, read = people.fanfare.write, people.fanfare.read
    tweet = write.CreateTweet(
        w.CreateTweetRequest(user_id=bob.user.id, content="mine"), metadata=bob.metadata
    ).tweet
    calls: list[Callable[..., Any]] = [
        lambda **k: write.CreateTweet(
            w.CreateTweetRequest(user_id=bob.user.id, content="not mine"), **k
        ),
        lambda **k: write.UpdateTweet(
            w.UpdateTweetRequest(tweet_id=tweet.id, content="not mine"), **k
        ),
        lambda **k: write.DeleteTweet(w.DeleteTweetRequest(tweet_id=tweet.id), **k),
        lambda **k: write.FollowUser(
            w.FollowUserRequest(follower_id=bob.user.id, followed_id=alice.user.id), **k
        ),
        lambda **k: write.UpdateUser(w.UpdateUserRequest(user_id=bob.user.id, bio="x"), **k),
        lambda **k: write.DeleteUser(w.DeleteUserRequest(user_id=bob.user.id), **k),
        lambda **k: read.GetAccount(r.GetAccountRequest(user_id=bob.user.id), **k),
        lambda **k: read.GetHomeTimeline(r.GetHomeTimelineRequest(user_id=bob.user.id), **k),
    ]
    for call in calls:
        assert failure(lambda call=call: call(metadata=alice.metadata)).code is DENIED  # type: ignore[misc]
        assert failure(lambda call=call: call()).code is UNAUTHENTICATED  # type: ignore[misc]
    tweets = read.ListUserTweets(r.ListUserTweetsRequest(user_id=bob.user.id)).tweets
    assert [(t.id, t.content) for t in tweets] == [(tweet.id, "mine")]
    assert not people.fanfare.sql("SELECT 1 FROM follows WHERE follower_id = %s", bob.user.id)


def test_an_administrator_may_delete_and_nothing_else(people: People) -> None:
    """A new administrator may delete with their next access token; a former one may not."""
    person, author = people.person(), people.person()
    tweet = people.fanfare.write.CreateTweet(
        w.CreateTweetRequest(user_id=author.user.id, content="bad"), metadata=author.metadata
    ).tweet
    assert people.fanfare.command("admin", "nobody_at_all").returncode == 1
    assert people.fanfare.command("admin", person.user.username).returncode == 0
    admin = Person(person.user, "", people.refresh(person.session.refresh_token))
    change = w.UpdateTweetRequest(tweet_id=tweet.id, content="good")
    refused = failure(lambda: people.fanfare.write.UpdateTweet(change, metadata=admin.metadata))
    assert refused.code is DENIED
    people.fanfare.write.DeleteTweet(
        w.DeleteTweetRequest(tweet_id=tweet.id), metadata=admin.metadata
    )
    # The access token is still valid, and says that its user is an administrator.
    assert people.fanfare.command("admin", "--revoke", person.user.username).returncode == 0
    delete = w.DeleteUserRequest(user_id=author.user.id)
    refused = failure(lambda: people.fanfare.write.DeleteUser(delete, metadata=admin.metadata))
    assert refused.code is DENIED


def test_only_the_user_sees_their_email_address(people: People) -> None:
    """GetAccount shows the address to the user; test_authorizer.py tries all other callers."""
    person = people.person()
    request = r.GetAccountRequest(user_id=person.user.id)
    account = people.fanfare.read.GetAccount(request, metadata=person.metadata)
    assert (account.user, account.email) == (person.user, f"{person.user.username}@example.com")
    ((history,),) = people.fanfare.sql("SELECT valid_history()")
    request.consistency_token = encode_token(
        Moment(history, Lsn(2**62))
    )  # of a commit that does not exist
    late = failure(lambda: people.fanfare.read.GetAccount(request, metadata=person.metadata))
    assert late.reason == "NOT_YET_CONSISTENT"


def test_a_deleted_user_is_gone_from_everywhere(people: People) -> None:
    """Nothing of a deleted user is left in tables, in Redis, or in events that have expired."""
    fanfare, write = people.fanfare, people.fanfare.write
    person, friend = people.person(), people.person()
    for one, other in ((person, friend), (friend, person)):
        write.FollowUser(
            w.FollowUserRequest(follower_id=one.user.id, followed_id=other.user.id),
            metadata=one.metadata,
        )
    text = f"personal-{uuid.uuid4().hex}"
    tweet = w.CreateTweetRequest(user_id=person.user.id, content=text, request_id=str(uuid.uuid4()))
    write.CreateTweet(tweet, metadata=person.metadata)
    fanfare.wait_drained()
    home = r.GetHomeTimelineRequest(user_id=friend.user.id)
    page = fanfare.read.GetHomeTimeline(home, metadata=friend.metadata)
    assert [tweet.content for tweet in page.tweets] == [text]
    marks = (text, person.user.username)
    assert fanfare.where(*marks) == {"tweets", "outbox", "users", "redis"}

    request = w.DeleteUserRequest(user_id=person.user.id)
    write.DeleteUser(request, metadata=person.metadata)
    fanfare.wait_drained()
    # The relay deletes events after a week. Pretend that it has passed.
    fanfare.sql("UPDATE outbox SET sent_at = now() - interval '8 days'")
    process = fanfare.system.processes["write"]
    process.stop()
    process.start()
    wait_until(lambda: not fanfare.where(*marks), "nothing is left", 60)
    for table, column in (
        *(("sessions", "user_id"), ("tweet_requests", "user_id"), ("tweets", "user_id")),
        *(("follows", "follower_id"), ("follows", "followed_id"), ("users", "id")),
    ):
        rows = sql.SQL("SELECT 1 FROM {} WHERE {} = {}").format(
            sql.Identifier(table), sql.Identifier(column), person.user.id
        )
        assert not fanfare.sql(rows.as_string()), table


def test_sessions_work_over_rest(people: People) -> None:
    """REST has sessions, 401 with WWW-Authenticate, 403, and the public keys."""
    fanfare = people.fanfare
    alice, bob = people.person(), people.person()
    status, _, headers = fanfare.rest("GET", f"/timeline/{alice.user.id}")
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    path = f"/timeline/{alice.user.id}"
    assert fanfare.rest("GET", path, token=bob.session.access_token)[0] == 403
    assert fanfare.rest("GET", path, token=alice.session.access_token)[0] == 200
    assert fanfare.rest("GET", path, token="a.b.c")[0] == 401
    credentials = {"username": alice.user.username, "password": alice.password}
    status, answer, _ = fanfare.rest("POST", "/sessions", credentials)
    people.secrets |= {answer["session"]["access_token"], answer["session"]["refresh_token"]}
    assert (status, answer["session"]["user_id"]) == (201, str(alice.user.id))
    body = {"refresh_token": answer["session"]["refresh_token"]}
    assert fanfare.rest("POST", "/sessions:revoke", body)[0] == 200
    assert fanfare.rest("POST", "/sessions:refresh", body)[0] == 401
    port = fanfare.settings.rest_write_port
    assert fanfare.rest("GET", "/health")[1] == {"status": "SERVING", "authentication": "on"}
    keys = people.auth.GetPublicKeys(a.GetPublicKeysRequest()).keys
    with urllib.request.urlopen(
        f"https://127.0.0.1:{port}/.well-known/jwks.json",
        context=client_context(fanfare.settings.tls_dir),
    ) as response:
        (key,) = json.load(response)["keys"]
    assert key == {
        "kty": "OKP",
        "crv": "Ed25519",
        "use": "sig",
        "alg": "EdDSA",
        "kid": keys[0].kid,
        "x": keys[0].x,
    }


def test_commands_of_fanfare_call_as_a_service(people: People) -> None:
    """`fanfare verify` may read every timeline."""
    alice, bob = people.person(), people.person()
    people.fanfare.write.FollowUser(
        w.FollowUserRequest(follower_id=alice.user.id, followed_id=bob.user.id),
        metadata=alice.metadata,
    )
    result = people.fanfare.command("verify")
    assert result.returncode == 0, result.stdout + result.stderr


def test_guessing_is_slowed_down(people: People) -> None:
    """Sign-ins are limited by the client's address, which only a trusted proxy can set."""
    fanfare = people.fanfare
    credentials = {"username": "nobody_at_all", "password": "guess"}
    # More calls than two minutes allow, because a minute may end in between.
    statuses = [
        fanfare.rest("POST", "/sessions", credentials, forwarded="203.0.113.9") for _ in range(130)
    ]
    refused = [headers for status, _, headers in statuses if status == 429]
    assert refused
    assert all(0 < int(headers["Retry-After"]) <= 60 for headers in refused)
    assert {status for status, _, _ in statuses} == {401, 429}
    # Other addresses are not limited.
    assert fanfare.rest("POST", "/sessions", credentials, forwarded="203.0.113.10")[0] == 401


def test_invalid_requests_are_counted_before_they_are_read(people: People) -> None:
    """A caller whose requests or tokens are all refused is told to wait as well."""
    fanfare = people.fanfare
    limit = 60
    for verb, path, body, refused in (
        ("POST", "/sessions", {"nonsense": "x" * 5000}, 413),
        ("POST", "/users", {}, 400),
        ("DELETE", "/users/1", None, 401),  # without a token
    ):
        # More calls than two minutes allow, because a minute may end in between.
        calls = [
            fanfare.rest(verb, path, body, forwarded="203.0.113.77") for _ in range(2 * limit + 1)
        ]
        statuses = [status for status, _, _ in calls]
        assert set(statuses) == {refused, 429}
        assert 429 not in statuses[:limit]


def test_new_passwords_are_counted_by_address(people: People) -> None:
    """Many accounts of one address change no more passwords than one does."""
    persons = [people.person() for _ in range(3)]
    codes = []
    for number in range(50):
        for person in persons:
            status, _, _ = people.fanfare.rest(
                "PUT",
                f"/users/{person.user.id}",
                {"password": f"{person.password}{number}"},
                token=person.session.access_token,
                forwarded="203.0.113.88",
            )
            codes.append(status)
    assert 429 in codes
    assert codes.count(200) <= 2 * 60  # a minute may end in between


def test_clients_without_our_certificate_are_refused(people: People, tmp_path: Path) -> None:
    """The gRPC ports refuse plain text, a missing certificate, and one of another authority."""
    settings = people.fanfare.settings
    assert settings.tls_dir is not None
    authority = (settings.tls_dir / "ca.crt").read_bytes()
    Authority().issue(tmp_path, "fanfare")
    key, certificate = (tmp_path / "tls.key").read_bytes(), (tmp_path / "tls.crt").read_bytes()
    for target in (settings.write_service_target(), settings.read_service_target()):
        for channel in (
            grpc.insecure_channel(target),
            grpc.secure_channel(target, grpc.ssl_channel_credentials(authority)),
            grpc.secure_channel(target, grpc.ssl_channel_credentials(authority, key, certificate)),
        ):
            with channel, pytest.raises(grpc.RpcError) as refused:
                ReadServiceStub(channel).GetUser(r.GetUserRequest(user_id=1), timeout=10)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
        urllib.request.urlopen(f"http://127.0.0.1:{settings.rest_read_port}/health", timeout=10)


def test_secrets_stay_where_they_belong(people: People) -> None:
    """No log, event, Redis value or row has a password or token that the tests above used."""
    person, fanfare = people.person(), people.fanfare
    fanfare.write.CreateTweet(
        w.CreateTweetRequest(user_id=person.user.id, content="hello"), metadata=person.metadata
    )
    home = r.GetHomeTimelineRequest(user_id=person.user.id)
    fanfare.read.GetHomeTimeline(home, metadata=person.metadata)
    fanfare.wait_drained()
    assert len(people.secrets) > 6
    assert fanfare.where(person.user.username) >= {"users"}
    assert fanfare.where(*people.secrets) == set()


def test_without_authentication_there_are_no_sessions(fanfare: Fanfare) -> None:
    """Methods that need authentication answer AUTHENTICATION_OFF while it is off."""
    with grpc.insecure_channel(fanfare.settings.write_service_target()) as channel:
        request = a.CreateSessionRequest(username="alice", password="pass123")
        refused = [failure(lambda: AuthServiceStub(channel).CreateSession(request))]
    account = r.GetAccountRequest(user_id=1)
    refused.append(failure(lambda: fanfare.read.GetAccount(account)))
    assert {(f.code, f.reason) for f in refused} == {
        (grpc.StatusCode.FAILED_PRECONDITION, "AUTHENTICATION_OFF")
    }
