"""Servers that accept only TLS: a Kafka, and a proxy for the embedded Postgres and Valkey."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from embedded.jars import kafka_jars
from embedded.kafka import prepare_kafka
from embedded.ports import HOST, free_ports
from embedded.stack import default_parts_dir

PASSWORD = "s3cret/@:"
# What a client of Postgres sends before TLS begins, and the server's answer:
# https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
_AGREED = b"S"
_CHUNK_BYTES = 1 << 16


@contextmanager
def tls_front(server_port: int, tls: Path, *, postgres: bool = False) -> Iterator[int]:
    """Yield a port that accepts only TLS, and forwards to a server on another port.

    Args:
        server_port: The server's port on 127.0.0.1.
        tls: The folder with the certificate and its key.
        postgres: Whether clients first ask for TLS in Postgres's own protocol.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls / "tls.crt", tls / "tls.key")

    async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if postgres:
                if await reader.readexactly(len(_SSL_REQUEST)) != _SSL_REQUEST:
                    writer.close()
                    return
                writer.write(_AGREED)
                await writer.start_tls(context)
            from_server, to_server = await asyncio.open_connection(HOST, server_port)
            await asyncio.gather(_pump(reader, to_server), _pump(from_server, writer))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    starting = asyncio.start_server(front, HOST, 0, ssl=None if postgres else context)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@contextmanager
def secure_kafka(folder: Path, tls: Path) -> Iterator[str]:
    """Yield host:port of a Kafka that needs TLS, and the user fanfare with PASSWORD."""
    port, controller_port, secure_port = free_ports(3)
    jars = kafka_jars(default_parts_dir() / "kafka", lambda _: None, threading.Event())
    server = prepare_kafka(folder, port, controller_port, jars)
    properties = folder / "server.properties"
    text = properties.read_text()
    text = text.replace(
        f"PLAINTEXT://{HOST}:{port}", f"PLAINTEXT://{HOST}:{port},SECURE://{HOST}:{secure_port}"
    ).replace("PLAINTEXT:PLAINTEXT,", "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,")
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    own = {
        "sasl.enabled.mechanisms": "PLAIN",
        "plain.sasl.jaas.config": f'{login} user_fanfare="{PASSWORD}";',
        "ssl.keystore.type": "PEM",
        "ssl.keystore.key": _one_line(tls / "tls.key"),
        "ssl.keystore.certificate.chain": _one_line(tls / "tls.crt"),
    }
    text += "".join(f"listener.name.secure.{name}={value}\n" for name, value in own.items())
    properties.write_text(text)
    server.start()
    try:
        yield f"{HOST}:{secure_port}"
    finally:
        server.stop()


def _one_line(path: Path) -> str:
    return path.read_text().strip().replace("\n", "\\n")
