"""`make torture`: play stories for some minutes, and print the figures.

Fails when a story fails, and when one of the metrics of rare events was never raised.
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
from torture.figures import EXEMPT, Figures, never_counted
from torture.story import Story
from torture.world import NO_PULL, World

from embedded.stack import default_parts_dir
from ops.system import System

# Short, so that few tweets suffice for pages below the cached list, trimming and compaction.
TIMELINE_LENGTH = 25
STORIES_A_ROUND = 10
STEPS = 30
PROGRESS_SECONDS = 30.0
# FANFARE_PULL_FOLLOWERS of the rounds in turn; 0 turns pull off.
THRESHOLDS = (NO_PULL, 2, 0, 1)


def profile(stories: int, steps: int) -> settings:
    """Return the settings of Hypothesis for a number of stories, each of up to `steps` steps."""
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
    """Play the stories of a seed; raise the error of the first that fails, shrunk."""

    @seed(number)
    def story() -> Story:
        return Story(world)

    # A function that makes a story serves as well as the class.
    run_state_machine_as_test(cast("type[Story]", story), settings=profile(stories, steps))


def torture(state_dir: Path, minutes: float, number: int) -> int:
    """Play stories for some minutes; return the exit status."""
    figures = Figures()
    figures.faults.update(dict.fromkeys(FAULTS, 0))  # the table also shows faults that never happen
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
            f"a story of round {played} failed; FANFARE_PULL_FOLLOWERS={world.base_pull_followers}"
        )
    finally:
        world.close()
    _say(figures.table(world.metrics))
    missing = [] if failed else never_counted(world.metrics)
    if missing:
        _say(f"metrics that were never raised: {', '.join(missing)}")
    for metric, reason in EXEMPT.items():
        _say(f"exempt: {metric}: {reason}")
    _say(f"seed {number}: {'a story FAILED' if failed else 'zero differences'}")
    return int(failed or bool(missing))


@contextmanager
def _progress(figures: Figures) -> Iterator[None]:
    """Print the progress from time to time."""
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
