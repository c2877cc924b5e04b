"""The upgrade of docs/operations.md, from the release before this one, under traffic.

First the processes of that release run on the schema of this one, and then each is replaced. After
both steps every answer equals SQL. FORMER_RELEASE=<commit> upgrades from any other commit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.expected_answers import Questions
from helpers.fanfare import Fanfare
from helpers.former_release import FormerRelease, former_revision
from helpers.kafka_topic import wrong_events
from helpers.replacement import PACKAGES, replace
from helpers.traffic import Traffic

from ops.migrate import migrate
from ops.system import System

USERS = 10
TWEETS = 60
# Commands between two steps of the upgrade.
COMMANDS = 60
# How many of the last commands have their effects read with their consistency tokens.
TOKENS = 30


@pytest.mark.timeout(600)
def test_upgrade_under_traffic(
    prepare_system: Callable[..., System], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No command is lost, and no timeline is wrong, in any mixture of the two releases."""
    revision = former_revision()
    system = prepare_system(FANFARE_SHARE_PORTS="true")
    system.stack.start()
    former = FormerRelease(revision, tmp_path / "former", system)
    former.migrate()
    former.start()
    with Fanfare(system) as clients:
        traffic = Traffic(clients, seed=1)
        traffic.begin(USERS, TWEETS)
        with traffic.running():
            traffic.wait_for_more(COMMANDS)
            applied = migrate(system.settings)
            traffic.wait_for_more(2 * COMMANDS)
        answers = _check(clients, traffic)
        with traffic.running():
            for name in PACKAGES:
                traffic.wait_for_more(COMMANDS)
                replace(system, name)
            traffic.wait_for_more(2 * COMMANDS)
        answers += _check(clients, traffic)
    with capsys.disabled():
        changed = ", ".join(applied) or "nothing to migrate"
        print(f"\nupgraded from {revision}: {changed}; {answers} answers were right")  # noqa: T201


def _check(clients: Fanfare, traffic: Traffic) -> int:
    """Compare every answer with SQL, after the traffic has ended; return how many there were."""
    assert traffic.surprises == {}
    now = traffic.in_database()
    lost = [deed for deed in traffic.deeds if not traffic.done(deed, now[deed.thing])]
    assert lost == []
    stale = [deed for deed in traffic.deeds[-TOKENS:] if not traffic.done(deed, traffic.read(deed))]
    assert stale == []
    clients.wait_drained()
    known = traffic.known
    questions = Questions(
        clients,
        [thing[1] for thing in known("user")],
        traffic.names,
        [thing[1] for thing in known("tweet")],
        [(thing[1], thing[2]) for thing in known("edge")],
    )
    assert list(questions.differences().values()) == []
    assert wrong_events(clients.settings, ids_may_repeat=False) == []
    return len(questions.all)
