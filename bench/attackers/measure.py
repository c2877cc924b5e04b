"""Measures the calls of others without and with each attack."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub

from bench.attackers.attacks import ENDING, Target, run
from bench.attackers.others import CALL_SECONDS, Others
from bench.attackers.people import People, Size, create_people
from bench.graph import Graph
from bench.harness import Bench, Profile, start_bench
from core.auth.access_tokens import Caller, Signer, create_key
from core.rpc.tls import open_channel

# An attacker may make the calls of others this many times as slow, at most.
MOST = 3.0
START_SECONDS = 60.0
DRAIN_SECONDS = 300.0
_NOBODY = Graph("", 0, {}, {}, [])


@dataclass
class Measured:
    """What others noticed of an attack in the calls of one method."""

    attack: str
    method: str
    quiet: list[float] = field(default_factory=list)
    """The 95th percentile in milliseconds without the attack, for each round."""
    attacked: list[float] = field(default_factory=list)
    """The same with the attack."""
    failed: int = 0
    """How many calls failed with the attack."""

    @property
    def ratio(self) -> float:
        """How many times as slow the calls were: the median over the rounds."""
        return median(a / q for a, q in zip(self.attacked, self.quiet, strict=True))

    def __str__(self) -> str:
        """Return a line of the table."""
        told = f"{self.attack:<17} {self.method:<16} {median(self.quiet):>9.1f}"
        told += f" {median(self.attacked):>12.1f} {self.ratio:>6.1f} {self.failed:>7}"
        return told + (" *" if self.ratio > MOST else "")


HEADER = "attack            call of others   quiet, ms attacked, ms  times  failed"


def measure(
    attacks: Sequence[str], size: Size, tell: Callable[[str], None]
) -> Iterator[list[Measured]]:
    """Start a system with authentication; yield what others notice of one attack after another.

    Args:
        attacks: the names of the attacks.
        size: how large the rows and the measurements are.
        tell: called with a line for each step.
    """
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        create_key(keys)
        # The attackers and the other users send their addresses in X-Forwarded-For.
        environment = {"FANFARE_AUTH_KEYS": str(keys), "FANFARE_TRUSTED_PROXIES": "127.0.0.0/8"}
        with start_bench(_NOBODY, Profile.FULL, tell, environment) as bench:
            yield from _measure(bench, Signer(keys), attacks, size, tell)


def _measure(
    bench: Bench,
    signer: Signer,
    attacks: Sequence[str],
    size: Size,
    tell: Callable[[str], None],
) -> Iterator[list[Measured]]:
    settings = bench.settings
    with (
        open_channel(settings.read_service_target(), None) as read,
        open_channel(settings.write_service_target(), None) as write,
    ):
        tell(f"creating {size.authors * size.tweets:,} tweets and the users")
        people = create_people(settings.primary_dsn(), WriteServiceStub(write), size)
        others = Others(people, ReadServiceStub(read), write)
        others.sign_in(signer)
        others.measure(size.seconds)  # fills caches and pools
        for number, attack in enumerate(attacks, 1):
            found = {method: Measured(attack, method) for method in others.methods}
            for each in range(size.rounds):
                tell(f"{number} of {len(attacks)}: {attack}, round {each + 1} of {size.rounds}")
                others.sign_in(signer)
                quiet = others.measure(size.seconds)
                with _attacking(attack, _target(bench, people, signer, each)):
                    attacked = others.measure(size.seconds)
                bench.wait_drained(DRAIN_SECONDS)
                for method, measured in found.items():
                    measured.quiet.append(quiet[method].p95())
                    measured.attacked.append(attacked[method].p95())
                    measured.failed += attacked[method].failed
            yield list(found.values())


def _target(bench: Bench, people: People, signer: Signer, number: int) -> Target:
    settings = bench.settings
    doomed = people.doomed[number]
    return Target(
        read=settings.read_service_target(),
        write=settings.write_service_target(),
        rest_read=settings.rest_read_port,
        rest_write=settings.rest_write_port,
        people=people,
        tokens=[signer.sign(Caller(account))[0] for account in people.accounts],
        doomed=doomed,
        doomed_token=signer.sign(Caller(doomed))[0],
        round_number=number,
    )


@contextmanager
def _attacking(attack: str, target: Target) -> Iterator[None]:
    """Run an attack in a process of its own until the context ends."""
    # Not forked: a copy of gRPC's threads would not work.
    spawning = multiprocessing.get_context("spawn")
    begun = spawning.Event()
    process = spawning.Process(target=run, args=(attack, target, begun), daemon=True)
    process.start()
    try:
        begun.wait(START_SECONDS)
        yield
        if attack in ENDING:
            process.join(6 * CALL_SECONDS)
    finally:
        process.terminate()
        process.join()
