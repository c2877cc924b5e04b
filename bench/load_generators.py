"""Load from compiled programs: ghz for gRPC, h2load for gRPC with large answers, wrk for REST.

If a program is not installed, a client in Python takes its place.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from bench import python_load
from bench.harness import BenchError
from bench.python_load import LoadResult
from bench.tools import find_tool

_READ = r.DESCRIPTOR.services_by_name["ReadService"]
_WRITE = w.DESCRIPTOR.services_by_name["WriteService"]
GET_HOME_TIMELINE = _READ.methods_by_name["GetHomeTimeline"]
BATCH_GET_HOME_TIMELINES = _READ.methods_by_name["BatchGetHomeTimelines"]
BATCH_CREATE_TWEETS = _WRITE.methods_by_name["BatchCreateTweets"]
CREATE_TWEET = _WRITE.methods_by_name["CreateTweet"]
# The default number of concurrent callers.
CALLERS = 32
CONNECTIONS = 4
RUN_SECONDS = 600.0
_SCRIPT = Path(__file__).with_name("requests.lua")


def home_requests(users: Iterable[int], seed: int) -> list[r.GetHomeTimelineRequest]:
    """Return a request for the first page of each user's home timeline, in random order."""
    requests = [r.GetHomeTimelineRequest(user_id=user, limit=20) for user in users]
    random.Random(seed).shuffle(requests)  # noqa: S311 - chance, not a secret
    return requests


def ghz(  # noqa: PLR0913 - each is a plain fact about the load
    folder: Path,
    target: str,
    method: MethodDescriptor,
    requests: Sequence[Message],
    calls: int,
    *,
    callers: int = CALLERS,
    connections: int = CONNECTIONS,
    rate: int | None = None,
    may_fail: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> LoadResult:
    """Make gRPC calls with ghz, and return the outcome.

    Args:
        folder: for temporary files.
        target: host and port.
        method: which method to call.
        requests: taken in turn, as often as needed.
        calls: how many calls to make.
        callers: how many calls are in progress at a time (closed loop), unless there is a rate.
        connections: how many connections the callers share.
        rate: how many calls to start per second, whether or not earlier ones have been answered
            (open loop), so that queueing counts as latency.
        may_fail: whether failed calls are part of the outcome instead of an error.
        metadata: sent with each call.

    Raises:
        BenchError: a call failed although none may.
    """
    generator = find_tool("ghz")
    if generator is None:
        load = python_load.call(target, method, requests, calls, callers, metadata or {})
    else:
        callers = min(callers, calls)
        arguments = [
            *("--total", str(calls), "--concurrency", str(callers)),
            *("--connections", str(min(connections, callers))),
            *(["--rps", str(rate), "--async"] if rate else []),
            *(["--metadata", json.dumps(metadata)] if metadata else []),
        ]
        load = _ghz([str(generator), *arguments, target], folder, method, requests)
    if (load.failed and not may_fail) or load.count != calls:
        raise BenchError(
            f"{load.failed} of {load.count} calls of {method.name} failed: {load.codes}"
        )
    return load


def _ghz(
    command: Sequence[str], folder: Path, method: MethodDescriptor, requests: Sequence[Message]
) -> LoadResult:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        data, protoset, out = (Path(name) / file for file in ("data", "protoset", "out"))
        data.write_text(
            json.dumps([MessageToDict(q, preserving_proto_field_name=True) for q in requests])
        )
        protoset.write_bytes(_descriptor_set(method.containing_service.file))
        options = [
            *("--insecure", "--protoset", str(protoset)),
            *("--call", f"{method.containing_service.full_name}/{method.name}"),
            *("--data-file", str(data)),
            *("--disable-template-data", "--disable-template-functions"),
            *("--max-recv-message-size", "32MB", "--format", "json", "--output", str(out)),
            # One thread and rare garbage collection (GOGC) reduce the CPU of ghz to a third.
            *("--cpus", "1"),
        ]
        _run([*command, *options], {"GOGC": "400"})
        summary = json.loads(out.read_text())
    codes = summary["statusCodeDistribution"]
    failed = sum(n for code, n in codes.items() if code != "OK")
    at = {step["percentage"]: step["latency"] / 1e6 for step in summary["latencyDistribution"]}
    return LoadResult(summary["count"], summary["rps"], at[50], at[99], failed, str(codes))


def h2load(
    folder: Path, target: str, method: MethodDescriptor, request: Message, calls: int
) -> int:
    """Make the same gRPC call repeatedly with h2load; return the number of bytes of all answers.

    For large answers h2load uses far less CPU than ghz, because it does not parse them. For the
    same reason it does not notice errors: compare the size with that of the expected answer.

    Raises:
        BenchError: some calls were not answered.
    """
    generator = find_tool("h2load")
    if generator is None:
        return python_load.answer_bytes(target, method, request, calls)
    url = f"http://{target}/{method.containing_service.full_name}/{method.name}"
    with tempfile.NamedTemporaryFile(dir=folder) as body:
        message = request.SerializeToString()
        # The framing of gRPC: a flag, 0 for not compressed, and the length.
        body.write(b"\0" + len(message).to_bytes(4, "big") + message)
        body.flush()
        output = _run(
            [
                *(str(generator), "--requests", str(calls), "--clients", "1"),
                *("-H", "content-type: application/grpc", "-H", "te: trailers"),
                *("--data", body.name, url),
            ]
        )
    done = re.search(r"(\d+) succeeded", output)
    size = re.search(r"\((\d+)\) data", output)
    if done is None or size is None or int(done[1]) != calls:
        raise BenchError(f"h2load did not complete all calls: {output}")
    return int(size[1])


def wrk(  # noqa: PLR0913 - each is a plain fact about the load
    folder: Path,
    url: str,
    lines: Sequence[str],
    seconds: int,
    *,
    connections: int,
    post_path: str = "",
) -> LoadResult:
    """Make HTTP requests at random with wrk (closed loop), and return the outcome.

    Args:
        folder: for temporary files.
        url: scheme, host and port.
        lines: the paths to fetch or, with a post_path, the JSON bodies to post, without line ends.
        seconds: how long to make requests.
        connections: how many connections make one request after another.
        post_path: the path to post to; "" to fetch.

    Raises:
        BenchError: an answer has a status of 400 or above, or a connection failed.
    """
    generator = find_tool("wrk")
    if generator is None:
        load = python_load.request(url, lines, connections, post_path)
    else:
        listed = folder / "lines"
        listed.write_text("".join(f"{line}\n" for line in lines))
        command = [
            *(str(generator), "--threads", "1", "--connections", str(connections)),
            *("--duration", f"{seconds}s", "--script", str(_SCRIPT), url, "--", str(listed)),
            *([post_path] if post_path else []),
        ]
        load = LoadResult(**json.loads(_run(command).splitlines()[-1]))
    if load.failed:
        raise BenchError(f"{load.failed} of {load.count} requests to {url} failed")
    return load


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(  # noqa: S603 - our own command
        command,
        env=dict(os.environ) | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS,
    )
    if done.returncode != 0:
        name = Path(command[0]).name
        raise BenchError(f"{name} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def _descriptor_set(file: FileDescriptor) -> bytes:
    """Return a serialised FileDescriptorSet of a .proto file and its imports, imports first."""
    contract = FileDescriptorSet()
    seen = set()

    def add(one: FileDescriptor) -> None:
        if one.name not in seen:
            seen.add(one.name)
            for other in one.dependencies:
                add(other)
            one.CopyToProto(contract.file.add())

    add(file)
    return contract.SerializeToString()
