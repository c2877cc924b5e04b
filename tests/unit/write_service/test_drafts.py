"""The content of tweets."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from write_service.drafts import MAX_CODE_POINTS, normalise_content


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


@given(st.text(max_size=300) | st.text("\u0315\u0300 a\u1faf\u2000", max_size=300))
def test_normalising_twice_changes_nothing(content: str) -> None:
    """Normalised content does not change when it is normalised again, so a retry has its digest."""
    try:
        once = normalise_content(content)
    except InvalidRequestError:
        return
    assert once == unicodedata.normalize("NFC", content).strip()
    assert normalise_content(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert 1 <= len(once) <= MAX_CODE_POINTS
