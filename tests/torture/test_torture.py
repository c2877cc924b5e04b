"""A few stories, always the same: see story.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from torture.figures import Figures
from torture.run import TIMELINE_LENGTH, play
from torture.world import NO_PULL, World

from ops.system import System

SEED = 1
STORIES = 8
STEPS = 20


@pytest.fixture(scope="module")
def world(start_system: Callable[..., System]) -> Iterator[World]:
    """Return a system for stories."""
    start = partial(start_system, replica=True, FANFARE_TIMELINE_LENGTH=str(TIMELINE_LENGTH))
    world = World(start, Figures())
    yield world
    world.close()


@pytest.mark.parametrize("pull_followers", [NO_PULL, 2, 1])
def test_timelines_are_exact_after_every_story(world: World, pull_followers: int) -> None:
    """After random commands and faults, every page of every timeline is as in SQL."""
    world.base_pull_followers = pull_followers
    play(world, SEED, STORIES, STEPS)
    assert world.figures.pages > 0
