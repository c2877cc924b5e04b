"""What it costs to ask callers who they are: warm home timelines with and without tokens."""

from __future__ import annotations

from fanfare.read.v1 import read_pb2 as r

from bench.figures import Figure
from bench.harness import Bench
from bench.load_generators import CALLERS, GET_HOME_TIMELINE, ghz, home_requests
from core.auth.access_tokens import Caller, Signer, create_key
from core.auth.authorizer import METADATA_KEY

GOAL = 1.1
MICRO = 1e6


def read_auth(bench: Bench) -> list[Figure]:
    """Return the CPU of GetHomeTimeline with access tokens, beside the same without."""
    bench.warm()
    calls = bench.size(10_000, quick=4000, smoke=100)
    requests = home_requests(bench.graph.readers, seed=3)
    keys = bench.folder / "keys"
    create_key(keys)
    signer = Signer(keys)
    plain: list[float] = []
    asked: list[float] = []
    off, off_target = bench.system.another_read_service(1)
    on, on_target = bench.system.another_read_service(1, auth_keys=keys)
    try:
        for target in (off_target, on_target):
            _calls(bench, target, requests, len(requests), signer)
        for number in range(bench.repetitions):
            bench.step(f"{calls:,} calls without and with tokens, {number + 1}")
            for target, server, taken in ((off_target, off, plain), (on_target, on, asked)):
                with bench.cpu(server=server) as used:
                    _calls(bench, target, requests, calls, signer)
                taken.append(used["server"] / calls * MICRO)
    finally:
        on.stop()
        off.stop()
    figure = Figure(
        "read-auth",
        f"{CALLERS} callers",
        "server CPU per call",
        "µs",
        tuple(asked),
        "without authentication",
        tuple(plain),
        note="a new token for each repetition, verified once and then known by its hash",
    )
    reached = (figure.ratio or GOAL + 1) <= GOAL
    return [figure.with_goal(f"at most {GOAL} times without", reached=reached)]


def _calls(
    bench: Bench,
    target: str,
    requests: list[r.GetHomeTimelineRequest],
    calls: int,
    signer: Signer,
) -> None:
    # Sent to both, so that only the check differs.
    token, _ = signer.sign(Caller(service="bench"))
    metadata = {METADATA_KEY: f"Bearer {token}"}
    ghz(bench.folder, target, GET_HOME_TIMELINE, requests, calls, metadata=metadata)
