"""What a client holds, and the events that lead to another state."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from read_service.held_tweets import NOTHING, Emptied, HeldTweets, Put, Removed, steps

TWEETS = st.dictionaries(st.integers(1, 12), st.sampled_from((b"a", b"b", b"c")), max_size=8)


def held(tweets: dict[int, bytes]) -> HeldTweets:
    """Return the state of a client with these tweets, by id."""
    ids = sorted(tweets, reverse=True)
    return HeldTweets.of(ids, [tweets[id_] for id_ in ids])


@given(before=TWEETS, after=TWEETS, limit=st.integers(1, 8))
def test_a_client_that_applies_the_steps_holds_the_new_state(
    before: dict[int, bytes], after: dict[int, bytes], limit: int
) -> None:
    """After each step it holds the state that comes with the step, and at the end the new one."""
    client = dict(before)
    wanted = held(after)
    taken = list(steps(held(before), wanted, limit))
    for step, state in taken:
        match step:
            case Removed(tweet_id):
                assert client.pop(tweet_id) is not None
            case Put(at):
                client[wanted.ids[at]] = after[wanted.ids[at]]
            case Emptied():
                client.clear()
        assert state == held(client)
    assert client == after
    changed = {id_ for id_, tweet in after.items() if before.get(id_) != tweet}
    needed = len(changed) + len(before.keys() - after.keys())
    assert len(taken) == (needed if needed <= limit else 1 + len(after))


@given(before=TWEETS, after=TWEETS)
def test_removals_come_first_and_tweets_oldest_first(
    before: dict[int, bytes], after: dict[int, bytes]
) -> None:
    """So a client never holds more than the larger of both states."""
    wanted = held(after)
    taken = [step for step, _ in steps(held(before), wanted, 100)]
    put = [step for step in taken if isinstance(step, Put)]
    assert taken[len(taken) - len(put) :] == put
    ids = [wanted.ids[step.at] for step in put]
    assert ids == sorted(ids)


def test_an_empty_client_gets_the_page_without_a_reset() -> None:
    """Nothing is to be taken out."""
    page = held(dict.fromkeys(range(1, 6), b"a"))
    assert [type(step) for step, _ in steps(NOTHING, page, 5)] == [Put] * 5
    assert not list(steps(page, page, 5))


def test_an_edit_is_a_difference() -> None:
    """The digest shows it."""
    taken = list(steps(held({1: b"a", 2: b"b"}), held({1: b"c", 2: b"b"}), 20))
    assert [step for step, _ in taken] == [Put(1)]
