"""How a failed call is told over HTTP: google.rpc.Status as JSON, with a fitting HTTP status."""

from __future__ import annotations

import logging

import grpc
import grpc.aio
from aiohttp import web
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from core.errors import (
    BodyTooLargeError,
    DeadlineExceededError,
    FanfareError,
    InternalError,
    MethodNotFoundError,
    OverloadedError,
    ServiceUnavailableError,
    UnsupportedMediaTypeError,
    to_status,
)
from gateway.answers import answer

LOG = logging.getLogger(__name__)

HTTP_STATUSES: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
_BY_NUMBER = {code.value[0]: status for code, status in HTTP_STATUSES.items()}

# What HTTP has a status of its own for, and gRPC has not.
_OWN_STATUSES: dict[type[FanfareError], int] = {
    MethodNotFoundError: 405,
    BodyTooLargeError: 413,
    UnsupportedMediaTypeError: 415,
}

# What grpc itself says, without our details, when the service did not.
_BARE: dict[grpc.StatusCode, FanfareError] = {
    grpc.StatusCode.UNAVAILABLE: ServiceUnavailableError(),
    grpc.StatusCode.CANCELLED: ServiceUnavailableError(),
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError(),
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError(),
    grpc.StatusCode.UNIMPLEMENTED: MethodNotFoundError(
        "the service behind this gateway does not have this method: upgrade it"
    ),
}
_HIDDEN = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}


def refusal(error: FanfareError) -> web.Response:
    """Return the answer to what the gateway itself does not let pass."""
    status = to_status(error)
    return _response(status, _OWN_STATUSES.get(type(error), _BY_NUMBER[status.code]))


def failure(error: grpc.aio.AioRpcError) -> web.Response:
    """Return the answer to a call that the service, or grpc on the way to it, failed."""
    status = _status(error)
    return _response(status, _BY_NUMBER.get(status.code, 500))


def _status(error: grpc.aio.AioRpcError) -> Status:
    try:
        # The stubs ask for a Call, but the two metadata and status methods are all it uses.
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
    except (ValueError, DecodeError):
        status = None
    if status is not None:
        return status
    code = error.code()
    if code in _BARE:
        return to_status(_BARE[code])
    if code in _HIDDEN:
        LOG.error("a service failed without our details: %s %s", code, error.details())
        return to_status(InternalError())
    return Status(code=code.value[0], message=error.details() or code.name)


def _response(status: Status, http_status: int) -> web.Response:
    headers = {}
    if http_status == HTTP_STATUSES[grpc.StatusCode.UNAUTHENTICATED]:
        headers["WWW-Authenticate"] = "Bearer"
    told = Status(code=status.code, message=status.message)
    for detail in filter(_is_printable, status.details):
        told.details.append(detail)
        retry = RetryInfo()
        if detail.Unpack(retry):
            delay = retry.retry_delay
            headers["Retry-After"] = str(delay.seconds + (delay.nanos > 0))
    return answer(told, http_status, headers)


def _is_printable(detail: AnyMessage) -> bool:
    # A newer service may send details of a type that this gateway has no JSON for.
    try:
        json_format.MessageToDict(detail)
    except (TypeError, DecodeError):
        return False
    return True
