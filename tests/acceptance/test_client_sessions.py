"""Sessions of the clients in clients/, on a system with authentication and TLS."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest
from fanfare.auth.v1.auth_pb2 import Session
from fanfare.auth.v1.auth_pb2_grpc import AuthServiceStub
from fanfare.errors.v1.errors_pb2 import ERROR_REASON_UNAUTHENTICATED
from fanfare.read.v1.read_pb2 import GetAccountRequest
from fanfare.write.v1.write_pb2 import UpdateUserRequest
from helpers import client_toolchains_go_java
from helpers.client_toolchains import Program, ToolchainMissing, typescript_program
from helpers.fanfare import Fanfare
from helpers.people import People
from helpers.waiting import wait_until

from core.rpc.tls import open_channel
from fanfare_client.aio import AsyncClient
from fanfare_client.channels import tls_from_folder
from fanfare_client.client import Client
from fanfare_client.errors import FanfareError
from ops.system import System

SESSION_STORIES: dict[str, Callable[[], Program]] = {
    "typescript": lambda: typescript_program("dist/session_story.js"),
    **client_toolchains_go_java.SESSION_STORIES,
}


@pytest.fixture(scope="module")
def people(start_system: Callable[..., System]) -> Iterator[People]:
    """Yield the people of a separate system."""
    system = start_system(auth=True)
    target = system.settings.write_service_target()
    with Fanfare(system) as fanfare, open_channel(target, system.settings.tls_dir) as channel:
        yield People(fanfare, AuthServiceStub(channel))


def test_python(people: People) -> None:
    """A session is refreshed when its access token is ended, and can be continued and ended."""
    person, settings = people.person(), people.fanfare.settings
    assert settings.tls_dir is not None
    targets = settings.write_service_target(), settings.read_service_target()
    tls = tls_from_folder(settings.tls_dir)
    stored: list[Session] = []
    request = GetAccountRequest(user_id=person.user.id)
    with Client(*targets, tls=tls, on_session=stored.append) as client:
        client.sign_in(person.user.username, person.password)
        # This ends all access tokens; the services notice within a second.
        client.write.UpdateUser(
            UpdateUserRequest(
                user_id=person.user.id,
                email=f"new_{person.user.username}@example.com",
                current_password=person.password,
            )
        )
        wait_until(
            lambda: client.read.GetAccount(request) and len(stored) > 1, "the session is refreshed"
        )
        timelines = client.watch(person.user.id)
        assert next(timelines) == []
        timelines.close()
    with Client(*targets, tls=tls, session=stored[-1]) as client:
        assert client.read.GetAccount(request).user.id == person.user.id
        client.sign_out()
        with pytest.raises(FanfareError) as refused:
            client.read.GetAccount(request)
        assert refused.value.reason == ERROR_REASON_UNAUTHENTICATED


async def test_python_with_asyncio(people: People) -> None:
    """The same client for asyncio signs in, watches and signs out."""
    person, settings = people.person(), people.fanfare.settings
    assert settings.tls_dir is not None
    async with AsyncClient(
        settings.write_service_target(),
        settings.read_service_target(),
        tls=tls_from_folder(settings.tls_dir),
    ) as client:
        await client.sign_in(person.user.username, person.password)
        request = GetAccountRequest(user_id=person.user.id)
        assert (await client.read.GetAccount(request)).user.id == person.user.id
        timelines = client.watch(person.user.id)
        assert await anext(timelines) == []
        await timelines.aclose()
        await client.sign_out()
        with pytest.raises(FanfareError):
            await client.read.GetAccount(request)


@pytest.mark.parametrize("language", SESSION_STORIES)
def test_other_languages(language: str, people: People) -> None:
    """The same as in Python with threads."""
    person, settings = people.person(), people.fanfare.settings
    try:
        program = SESSION_STORIES[language]()
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    arguments = [
        settings.write_service_target(),
        settings.read_service_target(),
        settings.tls_dir,
        str(person.user.id),
        person.user.username,
        person.password,
    ]
    ran = subprocess.run(
        [*program.command, *map(str, arguments)],
        cwd=program.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.stdout.splitlines() == ["ok sign in", "ok refresh", "ok watch", "ok sign out"], ran
