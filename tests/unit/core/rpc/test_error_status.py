"""What a caller receives for an error."""

from __future__ import annotations

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from core import errors
from core.errors import FanfareError, InvalidRequestError, OverloadedError
from core.rpc.error_status import to_status


def _info(error: FanfareError) -> ErrorInfo:
    info = ErrorInfo()
    assert to_status(error).details[0].Unpack(info)
    return info


def test_a_status_names_the_reason_without_its_prefix() -> None:
    """ErrorInfo carries the short name, Fanfare's domain and the metadata as text."""
    status = to_status(errors.UserNotFoundError(7))
    info = _info(errors.UserNotFoundError(7))
    assert (info.reason, info.domain) == ("USER_NOT_FOUND", "fanfare")
    assert dict(info.metadata) == {"user_id": "7"}
    assert (status.code, status.message) == (5, "there is no user 7")


def test_violations_become_a_bad_request() -> None:
    """BadRequest lists every violation, and the metadata names the first field."""
    error = InvalidRequestError([("", "no"), ("limit", "must not be negative"), ("offset", "no")])
    status = to_status(error)
    bad = BadRequest()
    assert status.details[1].Unpack(bad)
    assert [(v.field, v.description) for v in bad.field_violations] == error.violations
    assert dict(_info(error).metadata) == {"field": "limit"}
    assert status.message == "no; limit: must not be negative; offset: no"
    assert not _info(InvalidRequestError([("", "no")])).metadata


@pytest.mark.parametrize("error", [OverloadedError(), errors.DatabaseUnavailableError()])
def test_a_retryable_error_says_when_to_retry(error: FanfareError) -> None:
    """RetryInfo comes with every error that a retry may cure."""
    retry = RetryInfo()
    assert to_status(error).details[1].Unpack(retry)
    assert retry.retry_delay.ToSeconds() >= 1


def test_a_rate_limit_says_when_the_minute_ends() -> None:
    """The message rounds the delay up, so that nobody who believes it is too early."""
    error = errors.RateLimitedError(60, 12.5)
    retry = RetryInfo()
    assert to_status(error).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 12_500
    assert str(error).endswith("retry in 13 s")
