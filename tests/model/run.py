"""Plays random runs of the simulation, and prints what happened.

    python tests/model/run.py --seconds 60 --seed 1
    python tests/model/run.py --seed 17 --focus relay --story
    python tests/model/run.py --ablation 2000

Exits with status 1, and the story of the run, when one breaks a promise.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields
from pathlib import Path

# Import this folder's modules from their package. If the folder itself were on the path, its
# redis.py would hide the Redis client's package.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from model.focus import FOCUSES  # noqa: E402 - after the path above
from model.history import Result, play  # noqa: E402
from model.rules import ALL_RULES, Rules, without  # noqa: E402
from model.search import Totals, failed_without, histories  # noqa: E402
from model.seeds import BROKEN  # noqa: E402

PROGRESS_SECONDS = 10.0


def say(line: str) -> None:
    """Print a line and flush it."""
    print(line, flush=True)  # noqa: T201 - it is a program


def run(seconds: float, seed: int) -> int:
    """Play runs for a number of seconds; return the exit status."""
    totals = Totals()
    begun = shown = time.monotonic()
    for number, focus in histories(seed):
        result = play(number, ALL_RULES, focus)
        totals.add(result)
        if result.violation is not None:
            return tell(number, focus, ALL_RULES)
        now = time.monotonic()
        if now - begun > seconds:
            break
        if now - shown > PROGRESS_SECONDS:
            shown = now
            say(f"{now - begun:.0f} s: {totals.histories:,} histories, none broken")
    say("\n".join(totals.lines()))
    return 0


def tell(seed: int, focus: str, rules: Rules) -> int:
    """Print the story of a run, step by step; return 1 if it breaks a promise."""
    result: Result = play(seed, rules, focus, telling=True)
    say("\n".join(result.story))
    say(f"seed {seed}, focus {focus}: {result.violation or 'all promises kept'}")
    return int(result.violation is not None)


def ablation(count: int) -> None:
    """Print a table: for each rule, how many runs fail when it is left out."""
    say("| rule left out | histories about | failed |\n|---|---|---|")
    for rule in (field.name for field in fields(Rules)):
        focus = BROKEN[rule].focus
        failed, played = failed_without(rule, focus, count)
        say(f"| `{rule}` | {focus} | {len(failed)} of {played:,} |")


def main() -> int:
    """Run the command that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="the first history's (default: 0)")
    parser.add_argument("--story", action="store_true", help="print the one history of the seed")
    parser.add_argument("--focus", choices=list(FOCUSES), default="all", help="of the story")
    parser.add_argument("--without", metavar="RULE", help="leave out a rule of the story")
    parser.add_argument(
        "--ablation", type=int, metavar="N", help="leave out each rule, in N histories"
    )
    arguments = parser.parse_args()
    if arguments.ablation:
        ablation(arguments.ablation)
        return 0
    if arguments.story:
        rules = without(arguments.without) if arguments.without else ALL_RULES
        return tell(arguments.seed, arguments.focus, rules)
    return run(arguments.seconds, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
