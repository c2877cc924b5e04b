"""What protects accounts: current passwords, ended access tokens, kept names, the security log."""

from __future__ import annotations

import json
import stat
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from argon2 import PasswordHasher
from fanfare.auth.v1 import auth_pb2 as a
from fanfare.auth.v1.auth_pb2_grpc import AuthServiceStub
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import failure
from helpers.leaks import SECRET
from helpers.people import People, Person
from helpers.waiting import wait_until

from core.auth.access_tokens import Caller, Signer
from core.rpc.tls import open_channel
from core.storage.postgres import connection_arguments
from ops.system import System
from write_service.account_security import RECENT_SECONDS
from write_service.postgres_outbox import USERNAME_RETENTION_SECONDS
from write_service.store import SQL
from write_service.usernames import MAX_KEPT


@pytest.fixture(scope="module")
def log_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the security log."""
    return tmp_path_factory.mktemp("log") / "security.log"


@pytest.fixture(scope="module")
def people(start_system: Callable[..., System], log_path: Path) -> Iterator[People]:
    """Yield the people of a separate system."""
    system = start_system(auth=True, FANFARE_SECURITY_LOG=str(log_path))
    target = system.settings.write_service_target()
    with Fanfare(system) as fanfare, open_channel(target, system.settings.tls_dir) as channel:
        yield People(fanfare, AuthServiceStub(channel))


def _update(people: People, person: Person, **fields: str) -> None:
    request = w.UpdateUserRequest(user_id=person.user.id, **fields)
    people.fanfare.write.UpdateUser(request, metadata=person.metadata)


def _reason(call: Callable[[], object]) -> str:
    return failure(call).reason


def _with_old_session(people: People, person: Person) -> Person:
    """Return the person with an access token of a session that began an hour ago."""
    people.fanfare.sql(
        "UPDATE sessions SET signed_in_at = signed_in_at - interval '1 hour' WHERE user_id = %s"
        " RETURNING id",
        person.user.id,
    )
    return replace(person, session=people.refresh(person.session.refresh_token))


def _write_refuses(people: People, person: Person) -> bool:
    """Return whether the write service refuses a person's access token."""
    request = w.UpdateUserRequest(user_id=person.user.id, bio="hello")
    return _code(lambda: people.fanfare.write.UpdateUser(request, metadata=person.metadata)) is (
        grpc.StatusCode.UNAUTHENTICATED
    )


def _read_refuses(people: People, person: Person) -> bool:
    """Return whether the read service refuses a person's access token."""
    request = r.GetAccountRequest(user_id=person.user.id)
    return _code(lambda: people.fanfare.read.GetAccount(request, metadata=person.metadata)) is (
        grpc.StatusCode.UNAUTHENTICATED
    )


def _code(call: Callable[[], object]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def _is_refused(people: People, person: Person) -> tuple[bool, bool]:
    """Return whether the write service and the read service refuse a person's access token."""
    return _write_refuses(people, person), _read_refuses(people, person)


def _wait_refused(people: People, person: Person) -> None:
    # The command returns only once its own process knows of it. The write service is not asked
    # again and again: calls with ended tokens count by address, for all tests together.
    assert _write_refuses(people, person)
    wait_until(lambda: _read_refuses(people, person), "the token ended everywhere")


@pytest.mark.parametrize("field", ["password", "email"])
def test_a_stolen_access_token_does_not_take_the_account(people: People, field: str) -> None:
    """Without the password, the holder of a token of an older session cannot change credentials."""
    person = people.person()
    thief = _with_old_session(people, person)
    value = f"{SECRET}stolen" if field == "password" else f"{uuid.uuid4().hex}@example.com"
    for guess in ({}, {"current_password": f"{SECRET}guess"}):
        refused = failure(lambda guess=guess: _update(people, thief, **{field: value}, **guess))  # type: ignore[misc]
        assert refused.code is grpc.StatusCode.PERMISSION_DENIED
        assert refused.reason == "REAUTHENTICATION_REQUIRED"
    _update(people, thief, bio="harmless")
    assert people.sign_in(person.user.username, person.password)
    # A sign-in of the last minutes, or the password, is enough.
    owner = replace(person, session=people.sign_in(person.user.username, person.password))
    _update(people, owner, **{field: value})
    if field == "email":
        later = _with_old_session(people, replace(person, session=_signed_in(people, person)))
        other = f"{uuid.uuid4().hex}@example.com"
        _update(people, later, email=other, current_password=person.password)


def _signed_in(people: People, person: Person) -> a.Session:
    return people.sign_in(person.user.username, person.password)


def test_a_refresh_does_not_make_a_session_new(people: People) -> None:
    """The time of the sign-in goes from token to token."""
    person = _with_old_session(people, people.person())
    person = replace(person, session=people.refresh(person.session.refresh_token))
    assert _reason(lambda: _update(people, person, email="new@example.com")) == (
        "REAUTHENTICATION_REQUIRED"
    )
    assert RECENT_SECONDS < 3600


@pytest.mark.parametrize("field", ["password", "email"])
def test_a_change_of_credentials_ends_all_access_tokens(people: People, field: str) -> None:
    """Both services refuse every token of the user given out before, and accept the next ones."""
    person, other = people.person(), people.person()
    second = replace(person, session=_signed_in(people, person))
    value = f"{SECRET}another" if field == "password" else f"{uuid.uuid4().hex}@example.com"
    _update(people, person, **{field: value})
    for old in (person, second):
        _wait_refused(people, old)
    if field == "password":
        assert _reason(lambda: people.refresh(second.session.refresh_token)) == (
            "INVALID_REFRESH_TOKEN"
        )
        new = people.sign_in(person.user.username, value)
    else:
        new = people.refresh(second.session.refresh_token)
    # At once, although the read service may know of the previous epochs only.
    assert _is_refused(people, replace(person, session=new)) == (False, False)
    assert _is_refused(people, other) == (False, False)
    _update(people, replace(person, session=new), bio="still here")


def test_the_end_of_a_session_ends_its_access_tokens(people: People) -> None:
    """RevokeSession and a refresh token that is used twice; other sessions go on."""
    person = people.person()
    second = replace(person, session=_signed_in(people, person))
    third = replace(person, session=_signed_in(people, person))
    request = a.RevokeSessionRequest(refresh_token=second.session.refresh_token)
    people.auth.RevokeSession(request)
    _wait_refused(people, second)
    people.refresh(third.session.refresh_token)
    assert _reason(lambda: people.refresh(third.session.refresh_token)) == "INVALID_REFRESH_TOKEN"
    _wait_refused(people, third)
    assert _is_refused(people, person) == (False, False)


def test_a_deleted_users_tokens_end(people: People) -> None:
    """Both services refuse them, and no later user of the name gets anything from them."""
    person = people.person()
    request = w.DeleteUserRequest(user_id=person.user.id)
    people.fanfare.write.DeleteUser(request, metadata=person.metadata)
    _wait_refused(people, person)


def test_an_ended_token_changes_no_credentials_even_before_its_end_is_known(
    people: People,
) -> None:
    """The transaction compares the epochs itself, as in two concurrent changes."""
    person = people.person()
    people.fanfare.sql(
        "UPDATE users SET token_epoch = token_epoch + 1 WHERE id = %s RETURNING id", person.user.id
    )
    assert _is_refused(people, person) == (False, False)
    change = {"email": "new@example.com", "current_password": person.password}
    assert _reason(lambda: _update(people, person, **change)) == "UNAUTHENTICATED"


def test_a_restored_database_ends_the_tokens_of_users_that_it_lost(people: People) -> None:
    """A new user with the id of a lost one is not reached by the lost user's access token."""
    fanfare = people.fanfare
    assert fanfare.settings.auth_keys is not None
    fanfare.sql("INSERT INTO ended_histories (id, lsn) VALUES ('lost', 1) RETURNING id")
    try:
        person = people.person()
    finally:
        fanfare.sql("DELETE FROM ended_histories WHERE id = 'lost' RETURNING id")
    ((epoch,),) = fanfare.sql("SELECT token_epoch FROM users WHERE id = %s", person.user.id)
    # The lost user was created before the restore, so their epoch is lower.
    lost = Caller(person.user.id, epoch=epoch - 1)
    token, _ = Signer(fanfare.settings.auth_keys).sign(lost)
    people.secrets.add(token)
    stolen = replace(person, session=a.Session(access_token=token))
    wait_until(lambda: _read_refuses(people, stolen), "the read service refuses the token")
    wait_until(lambda: _write_refuses(people, stolen), "the write service does too")
    assert _is_refused(people, person) == (False, False)


def _create(people: People, name: str) -> Person:
    request = w.CreateUserRequest(
        username=name, email=f"{uuid.uuid4().hex}@example.com", password=f"{SECRET}{name}"
    )
    user = people.fanfare.write.CreateUser(request).user
    return Person(user, request.password, people.sign_in(name, request.password))


def _name() -> str:
    return f"Name_{uuid.uuid4().hex[:10]}"


@pytest.mark.parametrize("freed_by", ["rename", "deletion"])
def test_a_freed_name_cannot_be_taken_for_a_while(people: People, freed_by: str) -> None:
    """Not by another user, in any case; the relay releases it after 30 days."""
    name = _name()
    former, other = _create(people, name), people.person()
    if freed_by == "rename":
        _update(people, former, username=_name())
    else:
        people.fanfare.write.DeleteUser(
            w.DeleteUserRequest(user_id=former.user.id), metadata=former.metadata
        )
    for spelling in (name, name.upper()):
        assert _reason(lambda s=spelling: _create(people, s)) == "USERNAME_TAKEN"  # type: ignore[misc]
        taken = lambda s=spelling: _update(people, other, username=s)  # noqa: E731
        assert _reason(taken) == "USERNAME_TAKEN"
    assert not people.fanfare.where(name)
    if freed_by == "rename":
        _update(people, former, username=name.upper())
        return
    people.fanfare.sql(
        "UPDATE freed_usernames SET freed_at = now() - %s * interval '1 second'"
        " WHERE username_sha256 = username_sha256(%s) RETURNING freed_at",
        USERNAME_RETENTION_SECONDS + 1,
        name,
    )
    process = people.fanfare.system.processes["write"]
    process.stop()
    process.start()

    def is_released() -> bool:
        try:
            _create(people, name)
        except grpc.RpcError:
            return False
        return True

    wait_until(is_released, "the relay has released the name", 60)


def test_a_name_that_is_being_freed_is_not_taken(people: People) -> None:
    """CreateUser waits for the deletion of the user who has the name, and then refuses."""
    name = _name()
    former = _create(people, name)
    user = {"user_id": former.user.id}
    dsn = people.fanfare.settings.primary_dsn()
    arguments = connection_arguments(dsn, "test") | {"autocommit": False}
    with (
        psycopg.connect(dsn, **arguments) as deletion,
        ThreadPoolExecutor(1) as pool,
    ):
        for statement in ("end_account", "mark_deleted", "delete_erased_user"):
            deletion.execute(SQL[statement], user)
        creation = pool.submit(_reason, lambda: _create(people, name))
        wait_until(lambda: people.fanfare.waiting_for_locks("write"), "CreateUser waits")
        deletion.commit()
        assert creation.result() == "USERNAME_TAKEN"


def test_a_user_can_keep_a_limited_number_of_names(people: People) -> None:
    """A user who renames without end blocks only the last few names."""
    names = [_name() for _ in range(MAX_KEPT + 3)]
    person = _create(people, names[0])
    for name in names[1:]:
        _update(people, person, username=name)
    assert [name for name in names[:2] if _create(people, name)] == names[:2]
    for name in names[2:]:
        assert _reason(lambda name=name: _create(people, name)) == "USERNAME_TAKEN"  # type: ignore[misc]


def test_reserved_names_are_taken(people: People) -> None:
    """By CreateUser and by a rename, with the answer for any other name that is taken."""
    person = people.person()
    for name in ("Admin", "support", "fan_fare"):
        assert _reason(lambda name=name: _create(people, name)) == "USERNAME_TAKEN"  # type: ignore[misc]
        taken = lambda name=name: _update(people, person, username=name)  # noqa: E731
        assert _reason(taken) == "USERNAME_TAKEN"


def test_short_passwords_are_refused(people: People) -> None:
    """By CreateUser and UpdateUser, where authentication is on."""
    person = people.person()
    request = w.CreateUserRequest(username=_name(), email="a@example.com", password="pass123")
    for call in (
        lambda: people.fanfare.write.CreateUser(request),
        lambda: _update(people, person, password="pass123"),
    ):
        refused = failure(call)
        assert (refused.reason, refused.fields) == ("INVALID_REQUEST", ("password",))


def test_a_password_signs_in_however_it_is_composed(people: People) -> None:
    """A hash that an earlier version made of the text as it was typed does so, too."""
    person = people.person()
    composed, decomposed = f"{SECRET}p\u00e4sswort", f"{SECRET}pa\u0308sswort"
    _update(people, person, password=decomposed)
    assert people.sign_in(person.user.username, composed).user_id == person.user.id
    typed = PasswordHasher().hash(decomposed)
    people.fanfare.sql(
        "UPDATE users SET password_hash = %s WHERE id = %s RETURNING id", typed, person.user.id
    )
    assert people.sign_in(person.user.username, decomposed).user_id == person.user.id
    assert people.sign_in(person.user.username, composed).user_id == person.user.id


def test_the_security_log_has_what_happened_and_no_secrets(people: People, log_path: Path) -> None:
    """Every kind of event that the documents list, each with who, where, what and the result."""
    fanfare, auth = people.fanfare, people.auth
    person, victim = people.person(), people.person()
    admin = replace(people.person(), password="")
    assert fanfare.command("admin", admin.user.username).returncode == 0
    admin = replace(admin, session=people.refresh(admin.session.refresh_token))
    calls: list[Callable[[], Any]] = [
        lambda: people.sign_in(person.user.username, f"{SECRET}wrong"),
        lambda: people.sign_in("hunter2_as_a_name", f"{SECRET}wrong"),
        lambda: people.refresh(person.session.refresh_token),
        lambda: people.refresh(person.session.refresh_token),
        lambda: _update(people, victim, email="e@example.com", current_password=f"{SECRET}no"),
        lambda: _update(people, victim, email=f"{uuid.uuid4().hex}@example.com"),
        lambda: auth.RevokeSession(
            a.RevokeSessionRequest(refresh_token=victim.session.refresh_token)
        ),
        lambda: _update(people, replace(victim, session=admin.session), bio="mine"),
        lambda: fanfare.write.DeleteUser(
            w.DeleteUserRequest(user_id=person.user.id), metadata=admin.metadata
        ),
        lambda: _update(people, admin, password=f"{SECRET}another"),
    ]
    for call in calls:
        try:
            call()
        except grpc.RpcError:
            continue
    text = log_path.read_text()
    assert stat.S_IMODE(log_path.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in text.splitlines()]
    fields = {"time", "service", "event", "method", "user_id", "address", "result"}
    assert all(line.keys() >= fields for line in lines)
    assert {line["address"] for line in lines} == {"127.0.0.1"}
    found = {(line["event"], line["result"], line["user_id"]) for line in lines}
    assert found >= {
        ("sign_in", "OK", person.user.id),
        ("sign_in_failed", "INVALID_CREDENTIALS", person.user.id),
        ("sign_in_failed", "INVALID_CREDENTIALS", None),
        ("refresh_failed", "INVALID_REFRESH_TOKEN", None),
        ("reauthentication_failed", "REAUTHENTICATION_REQUIRED", victim.user.id),
        ("email_changed", "OK", victim.user.id),
        ("session_revoked", "OK", victim.user.id),
        ("call_refused", "PERMISSION_DENIED", admin.user.id),
        ("administrator_acted", "OK", admin.user.id),
        ("user_deleted", "OK", admin.user.id),
        ("password_changed", "OK", admin.user.id),
    }
    (deleted,) = (
        line
        for line in lines
        if line.get("target") == f"user_id={person.user.id}" and line["event"] == "user_deleted"
    )
    assert deleted["method"] == "DeleteUser"
    for secret in (*people.secrets, "hunter2", "@example.com", person.user.username):
        assert secret not in text
