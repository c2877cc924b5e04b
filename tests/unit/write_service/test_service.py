"""The gRPC servicer, without a database."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from fanfare.write.v1 import write_pb2 as pb

from core.feed.history import Lsn, Moment
from write_service.service import WriteService


async def test_validating_a_batch_does_not_hold_up_other_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event loop gets a turn at least every TURN_SECONDS, however many items there are."""
    monkeypatch.setattr("write_service.service.TURN_SECONDS", 0.0)
    tweets: Any = Mock(submit=AsyncMock(return_value=([], Moment("0123456789", Lsn(1)))))
    nothing: Any = None
    service = WriteService(nothing, tweets, nothing, None)
    request = pb.BatchCreateTweetsRequest(requests=[pb.CreateTweetRequest(user_id=1)] * 50)
    turns = 0
    batch = asyncio.create_task(service.BatchCreateTweets(request, nothing))
    while not batch.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(batch.result().results) == 50
    assert turns > 50
