"""`make torture`: stories for as long as one likes, and what they came to.

Fails when a story does, and when a rare path was never taken.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from torture.faults import FAULTS
from torture.figures import EXEMPT, Figures, never_taken
from torture.story import Story
from torture.world import NO_PULL, World

from embedded.stack import default_parts_dir
from ops.system import System

# Small: pages below the cached list, trimming and compaction are reached with few tweets.
TIMELINE_LENGTH = 25
STORIES_A_ROUND = 10
STEPS = 30
PROGRESS_SECONDS = 30.0
# From round to round: everything pushed; few followers make a celebrity; all pushed for good; one.
THRESHOLDS = (NO_PULL, 2, 0, 1)


def profile(stories: int, steps: int) -> settings:
    """Return the settings for so many stories."""
    return settings(
        max_examples=stories,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
    )


def play(world: World, number: int, stories: int, steps: int) -> None:
    """Play the stories of a seed; raises what the shrunk story that fails raised."""

    @seed(number)
    def story() -> Story:
        return Story(world)

    # A function that makes one does as well as the class.
    run_state_machine_as_test(cast("type[Story]", story), settings=profile(stories, steps))


def torture(state_dir: Path, minutes: float, number: int) -> int:
    """Play stories for so many minutes; return the exit status."""
    figures = Figures()
    figures.faults.update(dict.fromkeys(FAULTS, 0))  # those that never happen are to be seen
    started: list[System] = []

    def start() -> System:
        system = System(
            state_dir / f"system-{len(started)}",
            default_parts_dir(),
            environment={"FANFARE_TIMELINE_LENGTH": str(TIMELINE_LENGTH)},
            replica=True,
        )
        system.start()
        started.append(system)
        return system

    rounds = random.Random(number)
    begun = time.monotonic()
    world = World(start, figures)
    played = 0
    failed = False
    try:
        with _progress(figures):
            while time.monotonic() - begun < minutes * 60:
                world.base_pull_followers = THRESHOLDS[played % len(THRESHOLDS)]
                played += 1
                play(world, rounds.getrandbits(32), STORIES_A_ROUND, STEPS)
    except Exception as error:  # noqa: BLE001 - whatever a story raised is its finding
        failed = True
        sys.excepthook(type(error), error, error.__traceback__)
        _say(
            f"a story of round {played} failed, authors of over {world.base_pull_followers} pulled"
        )
    finally:
        world.close()
    rare = world.rare_paths
    _say(figures.table(rare))
    absent = [] if failed else never_taken(rare)
    if absent:
        _say(f"never taken: {', '.join(absent)}")
    for path, reason in EXEMPT.items():
        _say(f"exempt: {path}: {reason}")
    _say(f"seed {number}: {'a story FAILED' if failed else 'zero differences'}")
    return int(failed or bool(absent))


@contextmanager
def _progress(figures: Figures) -> Iterator[None]:
    """Say now and then how far it is."""
    done = threading.Event()
    begun = time.monotonic()

    def say() -> None:
        while not done.wait(PROGRESS_SECONDS):
            _say(f"{(time.monotonic() - begun) / 60:.1f} min: {figures.line()}")

    thread = threading.Thread(target=say)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - it is a program


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    number = arguments.seed if arguments.seed is not None else random.randrange(10**9)
    _say(f"seed {number}, {arguments.minutes:g} minutes")
    folder = tempfile.mkdtemp(prefix="fanfare-torture-")
    status = torture(Path(folder), arguments.minutes, number)
    if status:
        _say(f"the logs and data stay in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(status)


if __name__ == "__main__":
    main()
