"""The cost of authentication: warm home timelines with and without access tokens."""

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
    """Measure the CPU of GetHomeTimeline with authentication, against the same calls without it."""
    bench.warm()
    calls = bench.size(10_000, quick=2000, smoke=100)
    requests = home_requests(bench.graph.readers, seed=3)
    keys = bench.folder / "keys"
    create_key(keys)
    signer = Signer(keys)
    without: list[float] = []
    with_tokens: list[float] = []
    open_server, open_target = bench.system.another_read_service(1)
    secured_server, secured_target = bench.system.another_read_service(1, auth_keys=keys)
    try:
        for target in (open_target, secured_target):
            _calls(bench, target, requests, len(requests), signer)
        for number in bench.repeat():
            bench.step(f"{calls:,} calls without and with tokens, {number}")
            for target, server, values in (
                (open_target, open_server, without),
                (secured_target, secured_server, with_tokens),
            ):
                with bench.cpu(server=server) as used:
                    _calls(bench, target, requests, calls, signer)
                values.append(used["server"] / calls * MICRO)
    finally:
        secured_server.stop()
        open_server.stop()
    figure = Figure(
        "read-auth",
        f"{CALLERS} callers",
        "server CPU per call",
        "µs",
        tuple(with_tokens),
        "without authentication",
        tuple(without),
        note="each repetition has a new token, which is verified once and then cached by its hash",
    )
    reached = (figure.ratio or GOAL + 1) <= GOAL
    return [figure.with_goal(f"at most {GOAL} times the CPU without", reached=reached)]


def _calls(
    bench: Bench,
    target: str,
    requests: list[r.GetHomeTimelineRequest],
    calls: int,
    signer: Signer,
) -> None:
    # Both services get the token, so that only its verification makes a difference.
    token, _ = signer.sign(Caller(service="bench"))
    metadata = {METADATA_KEY: f"Bearer {token}"}
    ghz(bench.folder, target, GET_HOME_TIMELINE, requests, calls, metadata=metadata)
