"""Runs tests with each gRPC server."""

from __future__ import annotations

import pytest
from helpers import grpc_server

from core.settings import GrpcServerKind


@pytest.fixture(params=grpc_server.GRPC_SERVERS)
def each_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> GrpcServerKind:
    """Return the server that serving() starts in this run of the test."""
    kind = GrpcServerKind(request.param)
    monkeypatch.setattr(grpc_server, "GRPC_SERVER", kind)
    return kind
