"""What a caller receives for an error: a google.rpc.Status with its details."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from core.errors import FanfareError, InvalidRequestError, RetryableError

DOMAIN = "fanfare"


def to_status(error: FanfareError) -> Status:
    """Return the google.rpc.Status of an error, with its details."""
    info = ErrorInfo(reason=error.reason_name, domain=DOMAIN, metadata=error.metadata)
    details: list[Message] = [info]
    if isinstance(error, InvalidRequestError):
        violations = [
            BadRequest.FieldViolation(field=field, description=description)
            for field, description in error.violations
        ]
        details.append(BadRequest(field_violations=violations))
    if isinstance(error, RetryableError):
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        details.append(RetryInfo(retry_delay=delay))
    status = Status(code=error.code.value[0], message=str(error))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status
