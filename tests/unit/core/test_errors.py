"""The errors that a caller can get, and how the contract documents them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from fanfare.errors.v1.errors_pb2 import ErrorReason
from google.protobuf import json_format
from google.rpc.error_details_pb2 import ErrorInfo

from core import errors, watch_errors
from core.errors import FanfareError, InvalidRequestError
from core.rpc.error_status import to_status

CONTRACT = Path(__file__).parents[3] / "protos/fanfare/errors/v1/errors.proto"
# Values of the contract that only earlier versions sent.
RETIRED = {ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE}
# The errors of the examples in errors.proto whose classes take arguments.
EXAMPLES = [
    InvalidRequestError([("username", "must match the pattern")]),
    errors.MalformedRequestError("the body is not JSON"),
    errors.UserNotFoundError(7),
    errors.UserNotFoundError("alice"),
    errors.TweetNotFoundError(42),
    errors.FollowNotFoundError(7, 8),
    errors.MethodNotFoundError("/followers does not take PATCH"),
    errors.PathNotFoundError("there is no path /tweet/1"),
    errors.BodyTooLargeError(4 * 1024 * 1024),
    errors.UnsupportedMediaTypeError("send application/json"),
    errors.RateLimitedError(60, 12.5),
    errors.FollowingLimitError(10_000),
    errors.UserBusyError(42),
    watch_errors.TooManyWatchesError("the caller has", 20),
]


def _leaves(cls: type[FanfareError]) -> Iterator[type[FanfareError]]:
    for sub in cls.__subclasses__():
        yield from _leaves(sub)
        if not sub.__subclasses__():
            yield sub


def _one_of_each() -> list[FanfareError]:
    taking_arguments = {type(error) for error in EXAMPLES}
    return [*EXAMPLES, *(leaf() for leaf in _leaves(FanfareError) if leaf not in taking_arguments)]


def _info(error: FanfareError) -> ErrorInfo:
    info = ErrorInfo()
    assert to_status(error).details[0].Unpack(info)
    return info


def _documented() -> tuple[dict[str, str], dict[str, list[object]]]:
    """Return the status code and the examples of ErrorInfo in the comment of each reason."""
    codes: dict[str, str] = {}
    examples: defaultdict[str, list[object]] = defaultdict(list)
    body = CONTRACT.read_text().partition("enum ErrorReason {")[2]
    comments = re.findall(r"((?:  //.*\n)+)  ERROR_REASON_(\w+) = [1-9]", body)
    for comment, reason in comments:
        codes[reason] = re.findall(r"[A-Z_]+", comment)[0]
        text = re.sub(r"\n  //", "\n", comment)
        for example in re.findall(r"^     (\{.*(?:\n      .*)*)$", text, re.MULTILINE):
            examples[reason].append(json.loads(example))
    return codes, examples


def test_every_error_has_a_reason_of_its_own() -> None:
    """No two error classes share a reason, and each reason that is still sent has a class."""
    reasons = [leaf.reason for leaf in _leaves(FanfareError)]
    assert len(set(reasons)) == len(reasons)
    unused = RETIRED | {ErrorReason.ERROR_REASON_UNSPECIFIED}
    assert set(reasons) | unused == set(ErrorReason.values())
    assert not unused & set(reasons)


def test_the_contract_documents_the_code_and_the_metadata_of_every_error() -> None:
    """The comments in errors.proto show the ErrorInfo that a caller gets, where it has metadata."""
    codes, examples = _documented()
    shown: defaultdict[str, list[object]] = defaultdict(list)
    for error in _one_of_each():
        info = _info(error)
        assert codes[info.reason] == error.code.name, info.reason
        if info.metadata:
            shown[info.reason].append(json_format.MessageToDict(info))
    assert len(codes) == len(ErrorReason.keys()) - 1
    assert examples == shown


@pytest.mark.parametrize("error", _one_of_each(), ids=lambda error: type(error).__name__)
def test_a_message_is_filled_in_and_has_no_full_stop(error: FanfareError) -> None:
    """Messages are written in one style, and no part of a template is left in them."""
    message = str(error)
    assert message
    assert not message[0].isupper()
    assert not message.endswith(".")
    assert "{" not in message
