"""Tweet ids that are drawn a second time, as after the clock of Postgres was set back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from helpers.fanfare import Fanfare

from core.runtime.metrics import Metric
from ops.system import System


@pytest.fixture(scope="module", name="own")
def _own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose next_tweet_id() is replaced."""
    with Fanfare(start_system()) as clients:
        yield clients


def test_an_id_that_exists_is_drawn_again(own: Fanfare) -> None:
    """Neither the tweet nor its group fails."""
    author = own.user()
    tweet = own.tweet(author)
    own.sql("ALTER FUNCTION next_tweet_id() RENAME TO unused_tweet_id")
    own.sql("CREATE SEQUENCE draws")
    own.sql(
        "CREATE FUNCTION next_tweet_id() RETURNS bigint LANGUAGE sql VOLATILE AS $$"
        f" SELECT CASE WHEN nextval('draws') = 1 THEN {tweet.id} ELSE unused_tweet_id() END $$"
    )
    before = own.metrics()
    later = own.tweet(author)
    assert later.id > tweet.id
    own.wait_counted(Metric.TWEET_ID_REPEATED, before)
    assert len(own.tweets(author, 50)) == 50
