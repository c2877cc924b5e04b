"""The gRPC servicer, without a database."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from fanfare.write.v1 import write_pb2 as pb

from core.feed.history import Lsn, Moment
from write_service import service
from write_service.service import WriteService


async def test_validating_a_batch_does_not_hold_up_other_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event loop gets a turn at least every TURN_SECONDS, however many items there are."""
    monkeypatch.setattr("write_service.service.TURN_SECONDS", 0.0)
    tweets: Any = Mock(submit=AsyncMock(return_value=([], Moment("0123456789", Lsn(1)))))
    nothing: Any = None
    commands = WriteService(nothing, tweets, nothing, None)
    request = pb.BatchCreateTweetsRequest(requests=[pb.CreateTweetRequest(user_id=1)] * 50)
    turns = 0
    batch = asyncio.create_task(commands.BatchCreateTweets(request, nothing))
    while not batch.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(batch.result().results) == 50
    assert turns > 50


async def test_many_batches_hold_up_other_calls_no_longer_than_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One item of all batches is validated in each turn, not one of each."""
    monkeypatch.setattr("write_service.service.TURN_SECONDS", 0.0)
    parse = Mock(side_effect=service._parse_item)
    monkeypatch.setattr("write_service.service._parse_item", parse)
    tweets: Any = Mock(submit=AsyncMock(return_value=([], Moment("0123456789", Lsn(1)))))
    nothing: Any = None
    commands = WriteService(nothing, tweets, nothing, None)
    request = pb.BatchCreateTweetsRequest(requests=[pb.CreateTweetRequest(user_id=1)] * 20)
    batches = [asyncio.create_task(commands.BatchCreateTweets(request, nothing)) for _ in range(10)]
    most = 0
    while not all(batch.done() for batch in batches):
        before = parse.call_count
        await asyncio.sleep(0)
        most = max(most, parse.call_count - before)
    assert most <= 2
