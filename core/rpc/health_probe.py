"""Check the health of a process: `python -m core.rpc.health_probe HOST:PORT [SERVICE]`.

Exits with status 0 if the process is SERVING, otherwise with status 1 and one sentence on stderr.
Meant for the health checks of containers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from core.rpc.tls import client_context, open_channel, open_url
from core.runtime.environment import ignore_foreign_variables
from core.runtime.process import StartError, start_errors
from core.settings_loading import load_settings

TIMEOUT_SECONDS = 3.0


def probe(target: str, service: str = "", tls_dir: Path | None = None) -> str | None:
    """Return None if the service is SERVING, otherwise one sentence with the reason.

    Args:
        target: host:port of the process.
        service: the name of a service or of another part; "" for the process as a whole.
        tls_dir: the folder of certificates; None where TLS is off.
    """
    with open_channel(target, tls_dir) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(
                health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_SECONDS
            )
        except grpc.RpcError as error:
            return f"{target} does not answer: {error}"
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return None if name == "SERVING" else f"{target} is {name}"


def health_serves(target: str, tls_dir: Path | None = None) -> bool:
    """Return whether /health at host:port reports that the process is SERVING.

    The REST API has that path, and so has the metrics port of every process.
    """
    scheme = "http" if tls_dir is None else "https"
    try:
        with open_url(f"{scheme}://{target}/health", client_context(tls_dir), TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    ignore_foreign_variables()
    with start_errors():
        if not 2 <= len(sys.argv) <= 3:
            raise StartError("call it as python -m core.rpc.health_probe HOST:PORT [SERVICE]")
        _target, _service = [*sys.argv[1:], ""][:2]
        sys.exit(probe(_target, _service, load_settings().tls_dir))
