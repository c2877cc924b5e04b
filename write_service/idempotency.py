"""Claims of request_ids, which make CreateTweet safe to retry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fanfare.common.v1.common_pb2 import Tweet

from core.errors import DatabaseUnavailableError, FanfareError, RequestIdReusedError
from core.rpc import messages
from core.storage.postgres import Connection
from core.storage.queries import load_queries
from write_service.drafts import Draft

SQL = load_queries("write_service")


async def claim_requests(
    connection: Connection,
    drafts: Sequence[Draft],
    results: Sequence[Tweet | FanfareError],
    time: datetime,
) -> dict[int, Tweet | FanfareError]:
    """Claim the request_ids of the tweets about to be created.

    Return, by index, the answers of those whose request_id was claimed before: the first answer,
    or RequestIdReusedError when the content is another.
    """
    keys = {
        index: (draft.user_id, draft.request_id)
        for index, draft in enumerate(drafts)
        if draft.request_id is not None and isinstance(results[index], Tweet)
    }
    if not keys:
        return {}
    first = {key: index for index, key in reversed(keys.items())}
    claims = [result for i in first.values() if isinstance(result := results[i], Tweet)]
    asked = {"user_ids": [user for user, _ in first], "request_ids": [rid for _, rid in first]}
    cursor = await connection.execute(
        SQL["claim_requests"],
        asked
        | {
            "digests": [drafts[i].sha256 for i in first.values()],
            "tweet_ids": [tweet.id for tweet in claims],
            "time": time,
        },
    )
    claimed = {row[0] for row in await cursor.fetchall()}
    # A statement of its own: its snapshot shows what the claims that waited have waited for.
    cursor = await connection.execute(SQL["earlier_requests"], asked)
    answers = {
        (user_id, request_id): (sha256, tweet_id, created)
        for user_id, request_id, sha256, tweet_id, created in await cursor.fetchall()
    }
    repeated: dict[int, Tweet | FanfareError] = {}
    for index, key in keys.items():
        if key not in answers:
            raise DatabaseUnavailableError  # purged in between: the next try finds it free
        sha256, tweet_id, created = answers[key]
        if tweet_id in claimed and first[key] == index:
            continue
        draft = drafts[index]
        same = sha256 == draft.sha256
        repeated[index] = (
            messages.tweet(tweet_id, draft.user_id, draft.content, created, created)
            if same
            else RequestIdReusedError()
        )
    return repeated
