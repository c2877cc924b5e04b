"""Fanfare's errors: one hierarchy, and the one table from it to gRPC codes.

Every error becomes a google.rpc.Status with an ErrorInfo whose reason is a value of
fanfare.errors.v1.ErrorReason, plus BadRequest or RetryInfo where they apply.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import grpc
from fanfare.errors.v1.errors_pb2 import ErrorReason
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

DOMAIN = "fanfare"


class FanfareError(Exception):
    """A failure that a caller is told about; str() of it is the status message."""

    reason: ClassVar[ErrorReason.ValueType]


class InvalidRequestError(FanfareError):
    """A field breaks a rule of the contract.

    violations: pairs of the field's path ("" for the message as a whole) and what it must be.
    """

    reason = ErrorReason.ERROR_REASON_INVALID_REQUEST

    def __init__(self, violations: Iterable[tuple[str, str]]) -> None:
        self.violations = list(violations)
        super().__init__("; ".join(f"{f}: {d}" if f else d for f, d in self.violations))


class MalformedRequestError(FanfareError):
    """The bytes or the JSON are not the request message."""

    reason = ErrorReason.ERROR_REASON_MALFORMED_REQUEST


class InvalidPageTokenError(FanfareError):
    """The page token was changed, or belongs to another method or user."""

    reason = ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN

    def __init__(self) -> None:
        super().__init__(
            "page_token was changed, or given out by another method or for another user: "
            "start again without one"
        )


class InvalidConsistencyTokenError(FanfareError):
    """No command gave out this consistency token."""

    reason = ErrorReason.ERROR_REASON_INVALID_CONSISTENCY_TOKEN

    def __init__(self) -> None:
        super().__init__("consistency_token is not one that a command returned: pass it unchanged")


class UserNotFoundError(FanfareError):
    """No such user."""

    reason = ErrorReason.ERROR_REASON_USER_NOT_FOUND

    def __init__(self, user: int | str) -> None:
        super().__init__(f"there is no user {user}")


class TweetNotFoundError(FanfareError):
    """No such tweet."""

    reason = ErrorReason.ERROR_REASON_TWEET_NOT_FOUND

    def __init__(self, tweet_id: int) -> None:
        super().__init__(f"there is no tweet {tweet_id}")


class FollowNotFoundError(FanfareError):
    """The first user does not follow the second."""

    reason = ErrorReason.ERROR_REASON_FOLLOW_NOT_FOUND

    def __init__(self, follower_id: int, followed_id: int) -> None:
        super().__init__(f"user {follower_id} does not follow user {followed_id}")


class UsernameTakenError(FanfareError):
    """Another user has this name."""

    reason = ErrorReason.ERROR_REASON_USERNAME_TAKEN

    def __init__(self) -> None:
        super().__init__("another user has this username: choose another")


class EmailTakenError(FanfareError):
    """Another user has this e-mail address."""

    reason = ErrorReason.ERROR_REASON_EMAIL_TAKEN

    def __init__(self) -> None:
        super().__init__("another user has this e-mail address: use another")


class RequestIdReusedError(FanfareError):
    """The request_id came before, with another content."""

    reason = ErrorReason.ERROR_REASON_REQUEST_ID_REUSED

    def __init__(self) -> None:
        super().__init__(
            "this request_id came before with another content: use a new UUID for a new tweet"
        )


class UnauthenticatedError(FanfareError):
    """The call names nobody."""

    reason = ErrorReason.ERROR_REASON_UNAUTHENTICATED

    def __init__(self) -> None:
        super().__init__(
            "this method needs a valid access token, as `authorization: Bearer ...`: begin or "
            "refresh a session"
        )


class PermissionDeniedError(FanfareError):
    """The caller is known, and may not do this."""

    reason = ErrorReason.ERROR_REASON_PERMISSION_DENIED

    def __init__(self) -> None:
        super().__init__("you may not do this: it is another's, or not for callers like you")


class InvalidCredentialsError(FanfareError):
    """No user has this name and this password."""

    reason = ErrorReason.ERROR_REASON_INVALID_CREDENTIALS

    def __init__(self) -> None:
        super().__init__("no user has this name and this password")


class InvalidRefreshTokenError(FanfareError):
    """No session has this refresh token."""

    reason = ErrorReason.ERROR_REASON_INVALID_REFRESH_TOKEN

    def __init__(self) -> None:
        super().__init__("no session has this refresh token, or no longer: begin a session")


class AuthenticationOffError(FanfareError):
    """There are no sessions here."""

    reason = ErrorReason.ERROR_REASON_AUTHENTICATION_OFF

    def __init__(self) -> None:
        super().__init__(
            "authentication is off here: call without a token, or have the operator set "
            "FANFARE_AUTH_KEYS"
        )


class MethodNotFoundError(FanfareError):
    """No such method."""

    reason = ErrorReason.ERROR_REASON_METHOD_NOT_FOUND


class PathNotFoundError(FanfareError):
    """No such REST path."""

    reason = ErrorReason.ERROR_REASON_PATH_NOT_FOUND


class BodyTooLargeError(FanfareError):
    """The REST body is over the limit."""

    reason = ErrorReason.ERROR_REASON_BODY_TOO_LARGE


class UnsupportedMediaTypeError(FanfareError):
    """The REST body is not JSON."""

    reason = ErrorReason.ERROR_REASON_UNSUPPORTED_MEDIA_TYPE


class RetryableError(FanfareError):
    """A failure that may pass; the status says after how many seconds to try again."""

    retry_after: float = 1.0


class DatabaseUnavailableError(RetryableError):
    """Postgres does not answer."""

    reason = ErrorReason.ERROR_REASON_DATABASE_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__(
            "the database does not answer: try again, a command with the same request_id"
        )


class NotYetConsistentError(RetryableError):
    """No Postgres that answers has what the consistency token names."""

    reason = ErrorReason.ERROR_REASON_NOT_YET_CONSISTENT

    def __init__(self) -> None:
        super().__init__(
            "no database here has what the consistency_token names yet: try again, or read without"
        )


class ConsistencyTokenLostError(FanfareError):
    """The command that gave the token out may be lost: the database continues an older state."""

    reason = ErrorReason.ERROR_REASON_CONSISTENCY_TOKEN_LOST

    def __init__(self) -> None:
        super().__init__(
            "the database was restored or failed over after consistency_token was given out, and "
            "may have lost the command: check whether its effect is there, and omit the token"
        )


class ServiceUnavailableError(RetryableError):
    """The service behind the gateway does not answer."""

    reason = ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__("the service behind this gateway does not answer: try again")


class OverloadedError(RetryableError):
    """Too much work is waiting already."""

    reason = ErrorReason.ERROR_REASON_OVERLOADED

    def __init__(self) -> None:
        super().__init__("too many calls are waiting already: try again later")


class TooManyCallsError(RetryableError):
    """This process has as many calls under way as it takes."""

    reason = ErrorReason.ERROR_REASON_TOO_MANY_CALLS

    def __init__(self) -> None:
        super().__init__("this process has as many calls under way as it takes: try again")


class ShuttingDownError(RetryableError):
    """This process takes no more calls because it is being stopped; nothing was done."""

    reason = ErrorReason.ERROR_REASON_SHUTTING_DOWN

    def __init__(self) -> None:
        super().__init__("this process is shutting down and did nothing: retry")


class RateLimitedError(RetryableError):
    """The caller makes more calls than they may."""

    reason = ErrorReason.ERROR_REASON_RATE_LIMITED

    def __init__(self, retry_after: float) -> None:
        """Tell the caller to come back in so many seconds."""
        self.retry_after = retry_after
        super().__init__(
            f"too many calls of this method in this minute: try again in {retry_after:.0f} s"
        )


class DeadlineExceededError(FanfareError):
    """The caller's deadline passed."""

    reason = ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED

    def __init__(self) -> None:
        super().__init__("the call's deadline passed before it was done")


class InternalError(FanfareError):
    """A bug; its details stay in the log."""

    reason = ErrorReason.ERROR_REASON_INTERNAL

    def __init__(self) -> None:
        super().__init__("internal error: the log of the service has the details")


CODES: dict[type[FanfareError], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    MalformedRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidPageTokenError: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidConsistencyTokenError: grpc.StatusCode.INVALID_ARGUMENT,
    UserNotFoundError: grpc.StatusCode.NOT_FOUND,
    TweetNotFoundError: grpc.StatusCode.NOT_FOUND,
    FollowNotFoundError: grpc.StatusCode.NOT_FOUND,
    UsernameTakenError: grpc.StatusCode.ALREADY_EXISTS,
    EmailTakenError: grpc.StatusCode.ALREADY_EXISTS,
    RequestIdReusedError: grpc.StatusCode.ALREADY_EXISTS,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    InvalidCredentialsError: grpc.StatusCode.UNAUTHENTICATED,
    InvalidRefreshTokenError: grpc.StatusCode.UNAUTHENTICATED,
    AuthenticationOffError: grpc.StatusCode.FAILED_PRECONDITION,
    MethodNotFoundError: grpc.StatusCode.UNIMPLEMENTED,
    PathNotFoundError: grpc.StatusCode.NOT_FOUND,
    BodyTooLargeError: grpc.StatusCode.INVALID_ARGUMENT,
    UnsupportedMediaTypeError: grpc.StatusCode.INVALID_ARGUMENT,
    DatabaseUnavailableError: grpc.StatusCode.UNAVAILABLE,
    NotYetConsistentError: grpc.StatusCode.UNAVAILABLE,
    ConsistencyTokenLostError: grpc.StatusCode.FAILED_PRECONDITION,
    ServiceUnavailableError: grpc.StatusCode.UNAVAILABLE,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    RateLimitedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooManyCallsError: grpc.StatusCode.UNAVAILABLE,
    ShuttingDownError: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    InternalError: grpc.StatusCode.INTERNAL,
}


def to_status(error: FanfareError) -> Status:
    """Return the google.rpc.Status of an error, with its details."""
    name = ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")
    details: list[Message] = [ErrorInfo(reason=name, domain=DOMAIN)]
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
    status = Status(code=CODES[type(error)].value[0], message=str(error))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status
