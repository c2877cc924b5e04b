"""The content of tweets."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from uuid import UUID

import pytest
from fanfare.write.v1.write_pb2 import CreateTweetRequest, UpdateTweetRequest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from core.rpc.validation import RequestValidator
from write_service.drafts import MAX_CODE_POINTS, normalise_content, parse_draft


@pytest.mark.parametrize("content", ["", "   ", "\n\t", "\u2003\u00a0", "x" * 281, "é" * 281])
def test_empty_and_over_long_contents_are_refused(content: str) -> None:
    """Content that is empty after trimming or too long after normalisation is an invalid field."""
    with pytest.raises(InvalidRequestError) as caught:
        normalise_content(content)
    assert caught.value.violations[0][0] == "content"


def test_length_counts_code_points_after_normalisation() -> None:
    """280 decomposed letters count as 280, not as 560; 280 emoji as 280, not as 1,120 bytes."""
    assert normalise_content("e\u0301" * 280) == "\u00e9" * 280
    assert len(normalise_content("\U0001f600" * 280)) == 280


def test_content_that_is_far_too_long_is_not_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting thousands of combining marks takes milliseconds, and a batch has a thousand items."""
    longest = "\u1faf" * 280
    assert normalise_content(unicodedata.normalize("NFD", longest)) == longest
    monkeypatch.setattr("write_service.drafts.unicodedata", None)
    with pytest.raises(InvalidRequestError):
        normalise_content("a" + "\u0315\u0300" * 2000)


def _with_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(st.text("ab \r\n\t\u0301", max_size=30))
def test_the_way_in_which_lines_end_makes_no_difference(text: str) -> None:
    """CR LF, CR and LF pass validation and give one content, and so one digest for retries."""
    drafts = {}
    lines = _with_newlines(text)
    for spelling in (text, lines, lines.replace("\n", "\r\n"), lines.replace("\n", "\r")):
        request = CreateTweetRequest(user_id=1, content=spelling, request_id=str(UUID(int=1)))
        RequestValidator(request.DESCRIPTOR).validate(request, request.ByteSize())
        with suppress(InvalidRequestError):
            drafts[spelling] = parse_draft(request)
    assert len({draft.sha256 for draft in drafts.values()}) <= 1
    assert not any("\r" in draft.content for draft in drafts.values())


def test_a_line_end_counts_as_one_code_point() -> None:
    """The limit is about the content as it is stored, and so the same for every browser."""
    lines = "\r\n".join(["x"] * 140)
    assert normalise_content(lines + "\r\n") == "\n".join(["x"] * 140)
    with pytest.raises(InvalidRequestError, match="has 281"):
        normalise_content(lines + "\r\nx")


@pytest.mark.parametrize("character", ["\0", "\v", "\f", "\x1b", "\x7f", "\x85", "\x9f"])
@pytest.mark.parametrize("request_class", [CreateTweetRequest, UpdateTweetRequest])
def test_other_control_characters_are_refused(
    request_class: type[CreateTweetRequest | UpdateTweetRequest], character: str
) -> None:
    """Only tabs and line ends are allowed, in both commands."""
    with pytest.raises(InvalidRequestError, match="other than tabs and line ends"):
        RequestValidator(request_class.DESCRIPTOR).validate(
            request_class(content=f"a{character}b"), 2
        )


@given(st.text(max_size=300) | st.text("\u0315\u0300 a\u1faf\u2000\r\n", max_size=300))
def test_normalising_twice_changes_nothing(content: str) -> None:
    """Normalised content does not change when it is normalised again, so a retry has its digest."""
    try:
        once = normalise_content(content)
    except InvalidRequestError:
        return
    assert once == unicodedata.normalize("NFC", _with_newlines(content)).strip()
    assert normalise_content(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert 1 <= len(once) <= MAX_CODE_POINTS
