"""Builds the gRPC server that FANFARE_GRPC_SERVER names."""

from __future__ import annotations

from core.rpc.grpcio_transport import GrpcioTransport
from core.rpc.handlers import Handlers
from core.rpc.introspection import Introspection
from core.rpc.server import GrpcServer, Transport
from core.rpc.tls import Certificates
from core.runtime.process import StartError
from core.settings import GrpcServerKind


def grpc_server(  # noqa: PLR0913 - each is a plain fact about the server
    kind: GrpcServerKind,
    bind: str,
    port: int,
    handlers: Handlers,
    certificates: Certificates | None = None,
    *,
    shared: bool = False,
) -> GrpcServer:
    """Return a server that has not been started.

    Args:
        kind: which server carries the calls.
        bind: the address to listen on.
        port: the port to listen on; 0 for any free one.
        handlers: the methods to serve.
        certificates: the certificates for TLS; None where it is off.
        shared: whether other processes may listen on the port too.

    Raises:
        StartError: the native server is not installed.
    """
    introspection = Introspection(handlers)
    transport: Transport
    if kind is GrpcServerKind.GRPCIO:
        transport = GrpcioTransport(handlers, introspection, certificates, shared=shared)
    else:
        transport = _native(handlers, introspection, shared=shared)
    return GrpcServer(bind, port, transport, introspection, handlers)


def _native(handlers: Handlers, introspection: Introspection, *, shared: bool) -> Transport:
    try:
        # Here, because the package is installed only where it is wanted.
        from core.rpc.native_transport import NativeTransport  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "pygrpc_native":
            raise
        raise StartError(
            "FANFARE_GRPC_SERVER=native needs the package pygrpc-native; run `pip install "
            "--require-hashes -r requirements/native.txt`, or set FANFARE_GRPC_SERVER=grpcio"
        ) from None
    return NativeTransport(handlers, introspection, shared=shared)
