"""Ask a process for its health: `python -m core.health_probe HOST:PORT [SERVICE]`.

Exits with 0 when it is SERVING, else with 1 and a sentence; for containers' health checks.
"""

from __future__ import annotations

import sys
import urllib.request
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_SECONDS = 3.0


def probe(target: str, service: str = "") -> str | None:
    """Return None when the service at the target is SERVING, else a sentence with the reason."""
    with grpc.insecure_channel(target) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(
                health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_SECONDS
            )
        except grpc.RpcError as error:
            return f"{target} does not answer: {error}"
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return None if name == "SERVING" else f"{target} is {name}"


def gateway_serves(port: int) -> bool:
    """Return whether the gateway on this machine says at this port that it serves."""
    try:
        # The address is this machine's.
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(probe(*sys.argv[1:3]))
