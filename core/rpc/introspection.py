"""What a gRPC server answers beside its services: health, reflection, and unknown methods."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from core.auth.authorizer import AUTHENTICATION
from core.errors import MethodNotFoundError
from core.rpc import reflection
from core.rpc.call_metrics import GRPC_METRICS, NOT_FOUND, OK, UNARY, UNIMPLEMENTED
from core.rpc.error_status import to_status
from core.rpc.handlers import Handlers


class Introspection:
    """The health of each service, the reflection of their contract, and the unknown methods."""

    def __init__(self, handlers: Handlers) -> None:
        """Prepare to describe the services of these handlers; none of them is SERVING yet."""
        self._health = _CountedHealth()
        self._names = [health.SERVICE_NAME, *(each.full_name for each in handlers.services)]
        self._authentication = [AUTHENTICATION] if handlers.requires_authentication else []
        self.is_serving = False
        """Whether health reports SERVING for the services."""

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server answer them. Handlers that are added to it later are never reached."""
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.add_to(server, self._names)
        server.add_generic_rpc_handlers((_UnknownMethod(),))

    async def set_serving(self, *, serving: bool, part: str = "") -> None:
        """Report SERVING or NOT_SERVING, for every service or for one of the parts alone."""
        if not part:
            self.is_serving = serving
        answer = health_pb2.HealthCheckResponse
        for name in [part] if part else ["", *self._names, *self._authentication]:
            await self._health.set(name, answer.SERVING if serving else answer.NOT_SERVING)


class _CountedHealth(health.aio.HealthServicer):
    """Health whose checks are counted like the calls of the services."""

    def __init__(self) -> None:
        super().__init__()
        self._metrics = GRPC_METRICS.of(UNARY, health.SERVICE_NAME, "Check")

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        """Answer with the health of a service."""
        began = self._metrics.begin()
        outcome = NOT_FOUND  # aborts the call
        try:
            answer = await super().Check(request, context)
            outcome = OK
        finally:
            self._metrics.end(began, outcome)
        return answer


class _UnknownMethod(grpc.GenericRpcHandler):
    """Fails calls of methods that no service has, with ErrorInfo as in every other error."""

    def __init__(self) -> None:
        self._metrics = GRPC_METRICS.of(UNARY, "other", "other")

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return a handler that fails the call."""
        error = MethodNotFoundError(f"there is no method {handler_call_details.method}")

        async def handle(_request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            self._metrics.end(self._metrics.begin(), UNIMPLEMENTED)
            await context.abort_with_status(rpc_status.to_status(to_status(error)))
            raise AssertionError

        return grpc.unary_unary_rpc_method_handler(handle)
