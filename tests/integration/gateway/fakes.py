"""Fake services behind the REST shim, and an HTTP client in front of it."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from prometheus_client import REGISTRY
from yarl import URL

from core.auth.call_context import Context
from core.rpc.handlers import Handlers
from gateway.cors import Cors
from gateway.listener import Listener
from gateway.server import RestServer

Answer = Callable[[Any, Context], Awaitable[Message]]
Stream = Callable[[Any, Context], AsyncGenerator[bytes, None]]


class Fake:
    """A service whose methods record the request and return an empty or a canned answer.

    A method that answers with a stream calls its canned answer, and without one sends nothing.
    """

    def __init__(self, descriptor: ServiceDescriptor) -> None:
        self.requests: list[Message] = []
        self.answers: dict[str, Message | Exception | Answer] = {}
        self.streams: dict[str, Stream] = {}
        self.is_serving = True
        self.handlers = Handlers()
        for method in descriptor.methods:
            made = self._stream(method) if method.server_streaming else self._method(method)
            setattr(self, method.name, made)
        self.handlers.add_service(descriptor, self)

    def rest_server(
        self, cors: Cors, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> RestServer:
        """Return a REST server for the service, not started yet."""
        listener = Listener("127.0.0.1", port, tls)
        return RestServer(listener, self.handlers, lambda: self.is_serving, cors)

    def _method(self, method: MethodDescriptor) -> Answer:
        async def answer(request: Message, context: Context) -> Message:
            self.requests.append(request)
            canned = self.answers.get(method.name, GetMessageClass(method.output_type)())
            if isinstance(canned, Exception):
                raise canned
            return canned if isinstance(canned, Message) else await canned(request, context)

        return answer

    def _stream(self, method: MethodDescriptor) -> Stream:
        async def events(request: Message, context: Context) -> AsyncGenerator[bytes, None]:
            self.requests.append(request)
            if method.name in self.streams:
                async with aclosing(self.streams[method.name](request, context)) as canned:
                    async for event in canned:
                        yield event

        return events


@asynccontextmanager
async def rest(fake: Fake, cors: Cors, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Yield the REST port of a fake service."""
    server = fake.rest_server(cors, tls=tls)
    await server.start()
    try:
        yield server.port
    finally:
        await server.drain()


class Held:
    """An answer that waits until it is released, and records whether it was cancelled."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, _request: Message, _context: Context) -> Message:
        """Wait, then return the message."""
        self.entered.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return self._message


def handled() -> Counter[tuple[str, ...]]:
    """Return how many calls have ended, by verb, route and status."""
    return Counter(
        {
            tuple(sample.labels.values()): int(sample.value)
            for family in REGISTRY.collect()
            if family.name == "http_server_handled"
            for sample in family.samples
        }
    )


class Reply:
    """An HTTP response that has been read."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body, parsed; the content type must be JSON."""
        assert self.headers["Content-Type"].startswith("application/json")
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason in the ErrorInfo of an error."""
        info = self.json["details"][0]
        assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
        assert info["domain"] == "fanfare"
        return str(info["reason"])


class Client:
    """Sends requests to one port."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self.port = port

    async def send(self, verb: str, path: str, body: object = None, **headers: str) -> Reply:
        """Send a request; a body other than bytes, a str or a stream is sent as JSON."""
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            if not isinstance(body, bytes | str | AsyncIterator):
                body = json.dumps(body)
            if isinstance(body, str):
                body = body.encode()
            if isinstance(body, bytes):
                # aiohttp logs a warning if a large body is passed as bytes.
                body = io.BytesIO(body)
        # encoded=True, so that the path is sent exactly as the test gives it.
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self._session.request(
            verb, url, data=body, headers=headers, skip_auto_headers=["Content-Type"]
        ) as response:
            return Reply(response, await response.read())
