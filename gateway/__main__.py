"""`python -m gateway`: configure, build, serve, drain."""

from __future__ import annotations

import asyncio

from fanfare.auth.v1 import auth_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2

from core.auth.access_tokens import PublicKeys
from core.auth.addresses import parse_networks
from core.rpc.tls import certificates
from core.runtime.process import run
from core.settings import Settings
from gateway.cors import Cors
from gateway.server import Server
from gateway.service import Service


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve the commands and the queries over REST until stopping is set."""
    cors = Cors(settings.cors_origins)
    if settings.auth_keys is not None:
        PublicKeys(settings.auth_keys)  # which fails where there are none: a path may be wrong
    own = certificates(settings.tls_dir)
    write = Service(
        settings.write_service_target(),
        write_pb2.DESCRIPTOR.services_by_name["WriteService"],
        auth_pb2.DESCRIPTOR.services_by_name["AuthService"],
        certificates=own,
    )
    read = Service(
        settings.read_service_target(),
        read_pb2.DESCRIPTOR.services_by_name["ReadService"],
        certificates=own,
    )
    trusted = parse_networks(settings.trusted_proxies)
    tls = None if own is None else own.http_context()
    commands, queries = (
        Server(settings.bind, port, service, cors, trusted, tls, shared=settings.share_ports)
        for port, service in ((settings.rest_write_port, write), (settings.rest_read_port, read))
    )

    await commands.start()
    await queries.start()
    await stopping.wait()
    await asyncio.gather(commands.drain(), queries.drain())
    await asyncio.gather(write.close(), read.close())


if __name__ == "__main__":
    run(serve)
