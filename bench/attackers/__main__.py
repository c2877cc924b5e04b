"""`python -m bench.attackers [--quick] [ATTACK]...`: print what others notice of each attacker.

The exit status is 1 if an attacker makes a call of others more than MOST times as slow.
"""

from __future__ import annotations

import argparse
import sys
import time

from bench.attackers.attacks import ATTACKS
from bench.attackers.measure import HEADER, MOST, measure
from bench.attackers.people import Size

FULL = Size(
    rounds=3,
    seconds=5.0,
    authors=3000,
    tweets=300,
    deleted_tweets=200_000,
    celebrity_followers=20_000,
)
QUICK = Size(
    rounds=1,
    seconds=2.5,
    authors=3000,
    tweets=100,
    deleted_tweets=50_000,
    celebrity_followers=20_000,
)


def main() -> int:
    """Measure, print a table, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.attackers", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of each; three minutes")
    names = list(ATTACKS)
    parser.add_argument("attack", nargs="*", help=f"by default all of: {', '.join(names)}")
    given = parser.parse_args()
    if unknown := set(given.attack) - set(names):
        parser.error(f"there is no attack {min(unknown)!r}; choose from {', '.join(names)}")
    size = QUICK if given.quick else FULL
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)  # noqa: T201

    print(HEADER)  # noqa: T201
    found = []
    for rows in measure(given.attack or names, size, tell):
        print(*rows, sep="\n", flush=True)  # noqa: T201
        found += rows
    slow = sum(measured.ratio > MOST for measured in found)
    print(f"* {slow} of {len(found)} are more than {MOST:g} times as slow as without the attack")  # noqa: T201
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
