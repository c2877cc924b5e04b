"""The one table from errors to statuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fanfare.errors.v1.errors_pb2 import ErrorReason
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from core import errors
from core.errors import CODES, FanfareError, InvalidRequestError, OverloadedError, to_status


def _leaves(cls: type[FanfareError]) -> Iterator[type[FanfareError]]:
    for sub in cls.__subclasses__():
        yield from _leaves(sub)
        if not sub.__subclasses__():
            yield sub


def test_every_error_has_a_code_and_a_reason_of_its_own() -> None:
    """No error class is without a code, and no two share a reason."""
    leaves = set(_leaves(FanfareError))
    assert leaves == set(CODES)
    reasons = [leaf.reason for leaf in leaves]
    assert len(set(reasons)) == len(reasons)


def test_every_reason_of_the_contract_is_raised_by_some_error() -> None:
    """The catalogue names nothing that cannot happen."""
    used = {leaf.reason for leaf in _leaves(FanfareError)}
    assert used | {ErrorReason.ERROR_REASON_UNSPECIFIED} == set(ErrorReason.values())


def test_a_status_names_the_reason_without_its_prefix() -> None:
    """ErrorInfo carries the short name and our domain."""
    status = to_status(errors.UserNotFoundError(7))
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("USER_NOT_FOUND", "fanfare")
    assert (status.code, status.message) == (5, "there is no user 7")


def test_violations_become_a_bad_request() -> None:
    """Each violated field is told with what it must be."""
    status = to_status(InvalidRequestError([("limit", "must not be negative"), ("", "no")]))
    bad = BadRequest()
    assert status.details[1].Unpack(bad)
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("limit", "must not be negative"),
        ("", "no"),
    ]


@pytest.mark.parametrize("error", [OverloadedError(), errors.DatabaseUnavailableError()])
def test_what_may_pass_says_when_to_try_again(error: FanfareError) -> None:
    """RetryInfo comes with every error that a retry may cure."""
    retry = RetryInfo()
    assert to_status(error).details[1].Unpack(retry)
    assert retry.retry_delay.ToSeconds() >= 1
