"""The error of a call that failed, with what Fanfare says about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import grpc
from fanfare.errors.v1.errors_pb2 import ERROR_REASON_UNSPECIFIED, ErrorReason
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

_DOMAIN = "fanfare"
_PREFIX = "ERROR_REASON_"


class FanfareError(Exception):
    """A call failed.

    Attributes:
        code: The gRPC status code.
        message: What went wrong, for people. Its wording may change, so do not parse it.
        reason: Why the call failed, such as ERROR_REASON_USER_NOT_FOUND of
            fanfare.errors.v1.errors_pb2. ERROR_REASON_UNSPECIFIED if Fanfare gave no reason, as
            when the deadline passed or no server was reached, or a reason that is newer than this
            client.
        metadata: What the error is about, such as {"user_id": "7"}.
        retry_delay_seconds: How long to wait before the call is repeated; None if the server did
            not say.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: ErrorReason.ValueType = ERROR_REASON_UNSPECIFIED,
        metadata: Mapping[str, str] | None = None,
        retry_delay_seconds: float | None = None,
    ) -> None:
        name = code.name if reason == ERROR_REASON_UNSPECIFIED else _name(reason)
        super().__init__(f"{name}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_delay_seconds = retry_delay_seconds


def fanfare_error(error: grpc.RpcError) -> FanfareError:
    """Return the error of a call, of grpc or grpc.aio, as a FanfareError."""
    call = cast("grpc.Call", error)  # both have what is used here
    reason: ErrorReason.ValueType = ERROR_REASON_UNSPECIFIED
    metadata: Mapping[str, str] = {}
    delay: float | None = None
    info, retry = ErrorInfo(), RetryInfo()
    status = rpc_status.from_call(call)
    for detail in status.details if status is not None else ():
        if detail.Unpack(info) and info.domain == _DOMAIN:
            reason = _reason(info.reason)
            metadata = info.metadata
        elif detail.Unpack(retry):
            delay = retry.retry_delay.ToTimedelta().total_seconds()
    return FanfareError(call.code(), call.details() or "", reason, metadata, delay)


def _name(reason: ErrorReason.ValueType) -> str:
    return ErrorReason.Name(reason).removeprefix(_PREFIX)


def _reason(name: str) -> ErrorReason.ValueType:
    try:
        return ErrorReason.Value(f"{_PREFIX}{name}")
    except ValueError:  # of a newer server
        return ERROR_REASON_UNSPECIFIED
