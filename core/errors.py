"""Every error that a caller can get: its reason, gRPC code, message and metadata in one class.

A service raises one of these classes, and `core/rpc/error_status.py` makes the google.rpc.Status
that the caller receives. Its ErrorInfo holds the reason (fanfare.errors.v1.ErrorReason) and the
metadata, so that no client has to parse a message. `protos/fanfare/errors/v1/errors.proto`
documents each of them.

Metadata goes to the caller and into the caller's logs. It must hold no secret, no e-mail address,
and nothing that the caller may not know.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar

import grpc
from fanfare.errors.v1.errors_pb2 import ErrorReason

_NO_METADATA: Mapping[str, object] = MappingProxyType({})


class FanfareError(Exception):
    """A failed call; `str(error)` is the message that the caller reads.

    A class that inherits this `__init__` always has the same message and metadata, and is raised
    without arguments.
    """

    reason: ClassVar[ErrorReason.ValueType]
    code: ClassVar[grpc.StatusCode]
    message: ClassVar[str]
    """A template for `str.format`; its values are the metadata and the words of `__init__`."""
    field: ClassVar[str] = ""
    """The request field at fault, if it is always the same one; the metadata names it."""

    def __init__(self, metadata: Mapping[str, object] = _NO_METADATA, **words: object) -> None:
        """Fill in the message.

        Args:
            metadata: the entries of ErrorInfo.metadata, which become text.
            **words: further values for the message, which do not go into the metadata.
        """
        constant = {"field": self.field} if self.field else {}
        self.metadata = constant | {name: str(value) for name, value in metadata.items()}
        super().__init__(self.message.format(**metadata, **words))

    @property
    def reason_name(self) -> str:
        """The reason as callers see it: without the prefix of the enum."""
        return ErrorReason.Name(self.reason).removeprefix("ERROR_REASON_")


class DescribedError(FanfareError):
    """A failure whose message is written where it is raised."""

    message = "{detail}"

    def __init__(self, detail: str) -> None:
        """Take the whole message: what is wrong, and what to do."""
        super().__init__(detail=detail)


class RetryableError(FanfareError):
    """A failure that a retry may cure; its status carries a RetryInfo."""

    retry_after: float = 1.0
    """How many seconds the caller should wait."""


class InvalidRequestError(FanfareError):
    """Fields break the contract's rules; a BadRequest lists the violations that it is given."""

    reason = ErrorReason.ERROR_REASON_INVALID_REQUEST
    code = grpc.StatusCode.INVALID_ARGUMENT
    message = "{detail}"

    def __init__(self, violations: Iterable[tuple[str, str]]) -> None:
        """Take a pair for each broken rule: the field's path, and what the field must be.

        The path is "" for a rule about the whole request.
        """
        self.violations = list(violations)
        fields = [field for field, _ in self.violations if field]
        super().__init__(
            {"field": fields[0]} if fields else {},
            detail="; ".join(f"{f}: {d}" if f else d for f, d in self.violations),
        )


class MalformedRequestError(DescribedError):
    """The bytes or the JSON cannot be read as the request message."""

    reason = ErrorReason.ERROR_REASON_MALFORMED_REQUEST
    code = grpc.StatusCode.INVALID_ARGUMENT


class InvalidPageTokenError(FanfareError):
    """The page token was changed, or belongs to another method or user."""

    reason = ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN
    code = grpc.StatusCode.INVALID_ARGUMENT
    message = (
        "page_token is damaged, or belongs to another method or user; list again from the "
        "first page"
    )
    field = "page_token"


class InvalidConsistencyTokenError(FanfareError):
    """The consistency token is not one that a command returned."""

    reason = ErrorReason.ERROR_REASON_INVALID_CONSISTENCY_TOKEN
    code = grpc.StatusCode.INVALID_ARGUMENT
    message = "consistency_token is not one that a command returned; pass it unchanged, or omit it"
    field = "consistency_token"


class UserNotFoundError(FanfareError):
    """No user has this id or username."""

    reason = ErrorReason.ERROR_REASON_USER_NOT_FOUND
    code = grpc.StatusCode.NOT_FOUND
    message = "there is no user {user}"

    def __init__(self, user: int | str) -> None:
        """Take the id or the username that the caller asked for."""
        super().__init__({"user_id" if isinstance(user, int) else "username": user}, user=user)


class TweetNotFoundError(FanfareError):
    """No tweet has this id."""

    reason = ErrorReason.ERROR_REASON_TWEET_NOT_FOUND
    code = grpc.StatusCode.NOT_FOUND
    message = "there is no tweet {tweet_id}"

    def __init__(self, tweet_id: int) -> None:
        super().__init__({"tweet_id": tweet_id})


class FollowNotFoundError(FanfareError):
    """The first user does not follow the second."""

    reason = ErrorReason.ERROR_REASON_FOLLOW_NOT_FOUND
    code = grpc.StatusCode.NOT_FOUND
    message = "user {follower_id} does not follow user {followed_id}"

    def __init__(self, follower_id: int, followed_id: int) -> None:
        super().__init__({"follower_id": follower_id, "followed_id": followed_id})


class UsernameTakenError(FanfareError):
    """Another user has this username, or had it lately, or it is reserved."""

    reason = ErrorReason.ERROR_REASON_USERNAME_TAKEN
    code = grpc.StatusCode.ALREADY_EXISTS
    message = "this username is taken or reserved; choose another"
    field = "username"


class EmailTakenError(FanfareError):
    """Another user has this e-mail address."""

    reason = ErrorReason.ERROR_REASON_EMAIL_TAKEN
    code = grpc.StatusCode.ALREADY_EXISTS
    message = "another user has this e-mail address; use another"
    field = "email"


class RequestIdReusedError(FanfareError):
    """The author already used this request_id for different content."""

    reason = ErrorReason.ERROR_REASON_REQUEST_ID_REUSED
    code = grpc.StatusCode.ALREADY_EXISTS
    message = "request_id was already used for different content; use a new UUID for a new tweet"
    field = "request_id"


class UnauthenticatedError(FanfareError):
    """The access token is missing, invalid or expired, or was ended."""

    reason = ErrorReason.ERROR_REASON_UNAUTHENTICATED
    code = grpc.StatusCode.UNAUTHENTICATED
    message = (
        "the access token is missing, invalid, expired or ended; create or refresh a session, and "
        "send `authorization: Bearer <access token>`"
    )


class PermissionDeniedError(FanfareError):
    """The method's access rule does not let this caller call it."""

    reason = ErrorReason.ERROR_REASON_PERMISSION_DENIED
    code = grpc.StatusCode.PERMISSION_DENIED
    message = (
        "permission denied: the resource belongs to another user, or this kind of caller may "
        "not use the method"
    )


class InvalidCredentialsError(FanfareError):
    """No user has this username and password."""

    reason = ErrorReason.ERROR_REASON_INVALID_CREDENTIALS
    code = grpc.StatusCode.UNAUTHENTICATED
    message = "the username or the password is wrong"


class ReauthenticationRequiredError(FanfareError):
    """The current password is missing or wrong, and the session is not new enough without it."""

    reason = ErrorReason.ERROR_REASON_REAUTHENTICATION_REQUIRED
    code = grpc.StatusCode.PERMISSION_DENIED
    message = (
        "current_password is wrong, or is missing while the session is older than five minutes; "
        "send the user's current password, or have the user sign in again"
    )
    field = "current_password"


class InvalidRefreshTokenError(FanfareError):
    """The refresh token is unknown, already used, or belongs to a session that has ended."""

    reason = ErrorReason.ERROR_REASON_INVALID_REFRESH_TOKEN
    code = grpc.StatusCode.UNAUTHENTICATED
    message = "refresh_token is unknown, already used or expired; create a new session"
    field = "refresh_token"


class AuthenticationOffError(FanfareError):
    """The method needs authentication, which is off on this server."""

    reason = ErrorReason.ERROR_REASON_AUTHENTICATION_OFF
    code = grpc.StatusCode.FAILED_PRECONDITION
    message = (
        "authentication is off on this server; call without a token, or ask the operator to "
        "set FANFARE_AUTH_KEYS"
    )


class MethodNotFoundError(DescribedError):
    """No RPC has this name; in REST, the path does not take this HTTP method."""

    reason = ErrorReason.ERROR_REASON_METHOD_NOT_FOUND
    code = grpc.StatusCode.UNIMPLEMENTED


class PathNotFoundError(DescribedError):
    """No RPC has this REST path."""

    reason = ErrorReason.ERROR_REASON_PATH_NOT_FOUND
    code = grpc.StatusCode.NOT_FOUND


class BodyTooLargeError(FanfareError):
    """The request is larger than any valid request of its method."""

    reason = ErrorReason.ERROR_REASON_BODY_TOO_LARGE
    code = grpc.StatusCode.INVALID_ARGUMENT
    message = "the request is larger than {limit} bytes; send a smaller one"

    def __init__(self, limit: int) -> None:
        """Take the limit in bytes."""
        super().__init__({"limit": limit})


class UnsupportedMediaTypeError(DescribedError):
    """The REST body is compressed, or its Content-Type is not JSON."""

    reason = ErrorReason.ERROR_REASON_UNSUPPORTED_MEDIA_TYPE
    code = grpc.StatusCode.INVALID_ARGUMENT


class UnsupportedEncodingError(DescribedError):
    """A Connect or gRPC-Web request is compressed, or has not exactly one message."""

    reason = ErrorReason.ERROR_REASON_UNSUPPORTED_ENCODING
    code = grpc.StatusCode.UNIMPLEMENTED


class FollowingLimitError(FanfareError):
    """The follower follows as many users as one user may."""

    reason = ErrorReason.ERROR_REASON_FOLLOWING_LIMIT_REACHED
    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "a user may follow at most {limit} users; unfollow somebody first"

    def __init__(self, limit: int) -> None:
        """Take the limit."""
        super().__init__({"limit": limit})


class UserBusyError(RetryableError):
    """Another transaction holds the user's row for longer than a command waits for it."""

    reason = ErrorReason.ERROR_REASON_USER_BUSY
    code = grpc.StatusCode.UNAVAILABLE
    message = "another transaction holds user {user_id}, and nothing was done; retry"

    def __init__(self, user_id: int) -> None:
        super().__init__({"user_id": user_id})


class DatabaseUnavailableError(RetryableError):
    """Postgres does not answer; a command may or may not have taken effect."""

    reason = ErrorReason.ERROR_REASON_DATABASE_UNAVAILABLE
    code = grpc.StatusCode.UNAVAILABLE
    message = "the database is unavailable; retry (CreateTweet with the same request_id)"


class NotYetConsistentError(RetryableError):
    """No reachable Postgres server has replayed the command that the consistency token names."""

    reason = ErrorReason.ERROR_REASON_NOT_YET_CONSISTENT
    code = grpc.StatusCode.UNAVAILABLE
    message = "no replica has caught up with consistency_token yet; retry, or omit it"


class ConsistencyTokenLostError(FanfareError):
    """The database may have lost the command that returned the consistency token."""

    reason = ErrorReason.ERROR_REASON_CONSISTENCY_TOKEN_LOST
    code = grpc.StatusCode.FAILED_PRECONDITION
    message = (
        "the database was restored or failed over and may have lost the command that "
        "returned consistency_token; check whether it took effect, and omit the token"
    )


class OverloadedError(RetryableError):
    """Too many calls are queued for the same resource."""

    reason = ErrorReason.ERROR_REASON_OVERLOADED
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    message = "too many calls are queued already; retry later"


class TooManyCallsError(RetryableError):
    """The process has reached its limit of concurrent calls."""

    reason = ErrorReason.ERROR_REASON_TOO_MANY_CALLS
    code = grpc.StatusCode.UNAVAILABLE
    message = "this process has reached its limit of concurrent calls and did nothing; retry"


class ShuttingDownError(RetryableError):
    """The process is shutting down and takes no more calls."""

    reason = ErrorReason.ERROR_REASON_SHUTTING_DOWN
    code = grpc.StatusCode.UNAVAILABLE
    message = "this process is shutting down and did nothing; retry"


class RateLimitedError(RetryableError):
    """The caller called a method too often in the current minute."""

    reason = ErrorReason.ERROR_REASON_RATE_LIMITED
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    message = "more than {limit} calls of this method in this minute; retry in {seconds} s"

    def __init__(self, limit: int, retry_after: float) -> None:
        """Take the limit in calls per minute, and the seconds until the current minute ends."""
        self.retry_after = retry_after
        super().__init__({"limit": limit}, seconds=math.ceil(retry_after))


class DeadlineExceededError(FanfareError):
    """The call's deadline passed."""

    reason = ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED
    code = grpc.StatusCode.DEADLINE_EXCEEDED
    message = "the deadline passed before the call was done; a command may have taken effect"


class InternalError(FanfareError):
    """A bug; the service logs the details, and the caller does not see them."""

    reason = ErrorReason.ERROR_REASON_INTERNAL
    code = grpc.StatusCode.INTERNAL
    message = "internal error; the log of the service has the details"
