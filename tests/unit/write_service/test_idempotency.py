"""Which drafts are retries, and how they are answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from fanfare.common.v1.common_pb2 import Tweet

from core.errors import DatabaseUnavailableError, FanfareError, RequestIdReusedError
from write_service.drafts import TweetDraft
from write_service.idempotency import Claim, answer_retries

ID, OTHER_ID = UUID(int=1), UUID(int=2)
TIME = datetime(2026, 1, 1, tzinfo=UTC)


def _draft(content: str = "x", request_id: UUID | None = ID, user_id: int = 7) -> TweetDraft:
    return TweetDraft(user_id, content, request_id)


def _answers(
    drafts: Sequence[TweetDraft], claims: Sequence[tuple[TweetDraft, int]], claimed_now: set[int]
) -> dict[int, Tweet | FanfareError]:
    keys = {
        index: (draft.user_id, draft.request_id)
        for index, draft in enumerate(drafts)
        if draft.request_id is not None
    }
    found = {
        (draft.user_id, draft.request_id): Claim(
            draft.user_id, draft.request_id, draft.sha256, tweet_id, TIME
        )
        for draft, tweet_id in claims
        if draft.request_id is not None
    }
    return answer_retries(drafts, keys, found, claimed_now)


def test_the_first_use_of_a_request_id_is_no_retry() -> None:
    """Its tweet is created."""
    assert _answers([_draft()], [(_draft(), 11)], {11}) == {}


def test_a_retry_gets_the_tweet_that_was_created_first() -> None:
    """Id, content and time are those of the first answer."""
    (answer,) = _answers([_draft("same")], [(_draft("same"), 11)], set()).values()
    assert isinstance(answer, Tweet)
    assert (answer.id, answer.user_id, answer.content) == (11, 7, "same")
    assert answer.created_at.ToDatetime(UTC) == answer.updated_at.ToDatetime(UTC) == TIME


def test_a_retry_with_another_content_is_refused() -> None:
    """A request_id stands for one tweet."""
    (answer,) = _answers([_draft("new")], [(_draft("old"), 11)], set()).values()
    assert isinstance(answer, RequestIdReusedError)


def test_the_first_of_a_group_decides() -> None:
    """Of drafts with the same request_id in one group, the later ones are the retries."""
    drafts = [_draft("a"), _draft("a", None), _draft("a"), _draft("b")]
    answers = _answers(drafts, [(drafts[0], 11)], {11})
    assert answers.keys() == {2, 3}
    assert isinstance(answers[2], Tweet)
    assert isinstance(answers[3], RequestIdReusedError)


def test_users_may_choose_the_same_request_id() -> None:
    """A request_id is unique for each user only."""
    drafts = [_draft(user_id=1), _draft(user_id=2), _draft(request_id=OTHER_ID)]
    assert _answers(drafts, list(zip(drafts, (11, 12, 13), strict=True)), {11, 12, 13}) == {}


def test_a_claim_that_was_just_purged_is_retryable() -> None:
    """The statement that inserts claims has already run, so the whole group has to be retried."""
    with pytest.raises(DatabaseUnavailableError):
        _answers([_draft()], [], set())
