"""A TCP proxy whose connections can be made silent, cut, or slow.

A silent connection is worse than a closed one: the kernel still acknowledges every byte and every
keepalive probe, so only a timeout of the client can notice. The connection to the server stays open
as well, as behind a proxy that hangs.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from typing import Self

HOST = "127.0.0.1"
_CHUNK_BYTES = 4096
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Pair:
    """A client's connection, and the matching connection to the server."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers = [client]
        self.is_mute = False

    def cut(self) -> None:
        """Reset both connections."""
        for writer in self.writers:
            end = writer.get_extra_info("socket")
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()


class SilentProxy:
    """Forwards connections to a server, and can make them fail in several ways."""

    def __init__(self, server_port: int = 0) -> None:
        """Prepare a proxy; server_port may be set later, before the first client connects."""
        self.server_port = server_port
        self.port = 0
        # How many connections clients have opened.
        self.opened = 0
        self._pairs: set[_Pair] = set()
        self._new_are_mute = False
        self._delay_seconds = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="silent-proxy")
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        starting = asyncio.start_server(self._accept, HOST, 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        """Reset all connections, and stop."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def mute_open(self) -> None:
        """Drop all bytes, in both directions, of the connections that are open now."""
        for pair in list(self._pairs):
            pair.is_mute = True

    def mute_all(self) -> None:
        """Drop all bytes of all connections, also of those that are opened later."""
        self._new_are_mute = True
        self.mute_open()

    def cut(self) -> None:
        """Reset the connections that are open now."""
        for pair in list(self._pairs):
            self._loop.call_soon_threadsafe(pair.cut)

    def slow(self, delay_seconds: float) -> None:
        """Wait before each chunk of a few kilobytes is forwarded."""
        self._delay_seconds = delay_seconds

    def heal(self) -> None:
        """Forward new connections normally; silent ones stay silent."""
        self._new_are_mute = False
        self._delay_seconds = 0.0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        pair = _Pair(writer)
        pair.is_mute = self._new_are_mute
        self._pairs.add(pair)
        try:
            if pair.is_mute:
                while await reader.read(_CHUNK_BYTES):
                    pass
                return
            with suppress(OSError):
                from_server, to_server = await asyncio.open_connection(HOST, self.server_port)
                pair.writers.append(to_server)
                await asyncio.gather(
                    self._pump(pair, reader, to_server), self._pump(pair, from_server, writer)
                )
        except OSError:
            pass
        finally:
            for end in pair.writers:
                end.transport.abort()
            self._pairs.discard(pair)

    async def _pump(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if self._delay_seconds:
                await asyncio.sleep(self._delay_seconds)
            if not pair.is_mute:
                writer.write(chunk)
                await writer.drain()
        if not pair.is_mute:
            writer.close()

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for pair in list(self._pairs):
            pair.cut()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
