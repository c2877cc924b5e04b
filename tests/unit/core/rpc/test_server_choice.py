"""The choice of the gRPC server."""

from __future__ import annotations

import sys

import pytest

from core.rpc.handlers import Handlers
from core.rpc.server_choice import grpc_server
from core.runtime.process import StartError
from core.settings import GrpcServerKind


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to install the package. The server that needs none can still be built."""
    monkeypatch.setitem(sys.modules, "pygrpc_native", None)
    monkeypatch.delitem(sys.modules, "core.rpc.native_transport", raising=False)
    with pytest.raises(StartError, match=r"run `pip install .* -r requirements/native\.txt`, or"):
        grpc_server(GrpcServerKind.NATIVE, "127.0.0.1", 0, Handlers())
    grpc_server(GrpcServerKind.GRPCIO, "127.0.0.1", 0, Handlers())
