"""What the service does before the store is asked."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from fanfare.write.v1 import write_pb2 as pb

from core.feed.history import Lsn, Moment
from write_service.service import WriteService


async def test_a_batch_that_is_hard_to_check_lets_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No number of items holds the event loop for longer than one turn."""
    monkeypatch.setattr("write_service.service.TURN_SECONDS", 0.0)
    tweets: Any = Mock(submit=AsyncMock(return_value=([], Moment("0123456789", Lsn(1)))))
    nothing: Any = None
    service = WriteService(nothing, tweets, nothing)
    request = pb.BatchCreateTweetsRequest(requests=[pb.CreateTweetRequest(user_id=1)] * 50)
    turns = 0
    batch = asyncio.create_task(service.BatchCreateTweets(request, nothing))
    while not batch.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(batch.result().results) == 50
    assert turns > 50
