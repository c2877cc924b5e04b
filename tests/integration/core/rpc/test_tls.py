"""Certificates: clients need one, and they can be replaced while a process runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from aiohttp import web
from fanfare.read.v1 import read_pb2
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from helpers.authentication import authorizer
from helpers.grpc_server import Watched, serving

from core.auth.access_tokens import create_key
from core.rpc import server_options, tls
from core.rpc.server import GrpcServer
from core.rpc.tls import Certificates
from core.settings import SettingsError
from ops.certificates import Authority

READ = read_pb2.DESCRIPTOR.services_by_name["ReadService"]
DEADLINE_SECONDS = 20.0
HOME = read_pb2.GetHomeTimelineRequest(user_id=7)


@pytest.fixture(autouse=True)
def _look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a certificate and the new authority that signed it."""
    Authority().issue(tmp_path / "tls", "fanfare")
    return tmp_path / "tls"


def _serving(tmp_path: Path, folder: Path) -> AbstractAsyncContextManager[GrpcServer]:
    create_key(tmp_path / "keys")
    checking = authorizer(tmp_path / "keys", services=["feed"])
    return serving(READ, authorizer=checking, certificates=Certificates(folder))


@pytest.fixture
async def server(tmp_path: Path, folder: Path) -> AsyncIterator[GrpcServer]:
    """Yield a server that requires certificates; the common name `feed` makes a service."""
    async with _serving(tmp_path, folder) as server:
        yield server


async def _code(
    server: GrpcServer, files: tls.Files, *metadata: tuple[str, str]
) -> grpc.StatusCode:
    target = f"127.0.0.1:{server.port}"
    async with grpc.aio.secure_channel(target, files.channel_credentials) as channel:
        stub: Any = ReadServiceStub(channel)
        code: grpc.StatusCode = await stub.GetHomeTimeline(
            HOME, metadata=metadata, timeout=10
        ).code()
        return code


async def test_only_named_certificates_make_a_service(
    server: GrpcServer, folder: Path, tmp_path: Path
) -> None:
    """The holder of any other certificate needs an access token."""
    assert await _code(server, Certificates(folder).files()) is grpc.StatusCode.UNAUTHENTICATED
    authority = Authority()
    for name, code in (("feed", grpc.StatusCode.OK), ("another", grpc.StatusCode.UNAUTHENTICATED)):
        authority.issue(folder, "server")
        authority.issue(tmp_path / name, name)
        files = Certificates(tmp_path / name).files()
        assert await _code(server, files) is code
        # A proxy's certificate says nothing about the client whose call it forwards.
        refused = await _code(server, files, ("x-forwarded-for", "203.0.113.9"))
        assert refused is grpc.StatusCode.UNAUTHENTICATED


async def test_certificates_are_replaced_while_the_server_runs(
    server: GrpcServer, folder: Path
) -> None:
    """The next connection needs a certificate from the new authority."""
    old = Certificates(folder).files()
    assert await _code(server, old) is grpc.StatusCode.UNAUTHENTICATED
    Authority().issue(folder, "fanfare")
    assert await _code(server, old) is grpc.StatusCode.UNAVAILABLE
    new = Certificates(folder).files()
    assert await _code(server, new) is grpc.StatusCode.UNAUTHENTICATED


async def test_a_connection_of_before_ends(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the holder of a replaced certificate could stay connected for ever."""
    monkeypatch.setattr(server_options, "CONNECTION_SECONDS", 0.2)
    old = Certificates(folder).files()
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        _serving(tmp_path, folder) as server,
        grpc.aio.secure_channel(f"127.0.0.1:{server.port}", old.channel_credentials) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        assert await stub.GetHomeTimeline(HOME).code() is grpc.StatusCode.UNAUTHENTICATED
        Authority().issue(folder, "fanfare")
        while await stub.GetHomeTimeline(HOME).code() is not grpc.StatusCode.UNAVAILABLE:
            pass


async def test_a_stream_ends_with_its_connection(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With UNAVAILABLE, so that its client opens it again; the method is closed."""
    monkeypatch.setattr(server_options, "CONNECTION_SECONDS", 0.5)
    monkeypatch.setattr(server_options, "CONNECTION_GRACE_SECONDS", 0.5)
    event = read_pb2.WatchHomeTimelineResponse(resume_token="a")
    watched = Watched(event.SerializeToString())
    credentials = Certificates(folder).files().channel_credentials
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        serving(READ, servicer=watched, certificates=Certificates(folder)) as server,
        grpc.aio.secure_channel(f"127.0.0.1:{server.port}", credentials) as channel,
    ):
        stub: Any = ReadServiceStub(channel)
        call = stub.WatchHomeTimeline(read_pb2.WatchHomeTimelineRequest(user_id=7))
        assert await call.read() == event
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call.read()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        await watched.closed.acquire()


async def test_https_takes_new_certificates(folder: Path) -> None:
    """The next handshake uses the new certificate."""

    async def presented() -> bytes:
        context = ssl.create_default_context(cafile=folder / "ca.crt")
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return found

    runner = web.AppRunner(web.Application())
    await runner.setup()
    context = Certificates(folder).http_context()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    first = await presented()
    assert await presented() == first
    Authority().issue(folder, "another")
    assert await presented() != first
    await runner.cleanup()


def test_files_that_do_not_fit_each_other_are_passed_over(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While a process runs, its previous files stay in use; at its start, this is an error."""
    certificates = Certificates(folder)
    before = certificates.files()
    Authority().issue(tmp_path / "other", "fanfare")
    (folder / "tls.crt").write_bytes((tmp_path / "other" / "tls.crt").read_bytes())
    assert certificates.files() is before
    assert (
        f"cannot load certificates from {folder}; keeping the previous ones error=" in caplog.text
    )
    with pytest.raises(SettingsError, match=r"from FANFARE_TLS_DIR=.*; put a certificate"):
        Certificates(folder)
    (folder / "tls.key").write_bytes((tmp_path / "other" / "tls.key").read_bytes())
    assert (between := certificates.files()) is not before
    whole = (folder / "ca.crt").read_bytes()
    (folder / "ca.crt").write_bytes(whole[: len(whole) // 2])
    assert certificates.files() is between
    with pytest.raises(SettingsError, match="No such file or directory; put a certificate"):
        Certificates(tmp_path / "nothing")
