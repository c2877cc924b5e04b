"""Checks of Redis or Valkey: settings and clock."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from core.settings import Settings
from core.storage.settings_checks import redis_check
from ops.doctor.clocks import check_clock
from ops.doctor.runner import Check
from ops.doctor.verdicts import Status, Verdict, verdict_of_finding
from ops.redis import open_redis


def redis_checks(settings: Settings) -> list[Check]:
    """Return the checks of Redis."""
    name = "Redis"
    return [
        Check(name, lambda: _check_answer(settings)),
        Check("Redis settings", lambda: _check_settings(settings), needs=name),
        Check("Redis clock", lambda: check_clock(lambda: _clock(settings)), needs=name),
    ]


def role_verdict(info: dict[str, Any]) -> Verdict:
    """Return the verdict on what a server is; info: its reply to INFO."""
    version = info.get("valkey_version") or info.get("redis_version", "of an unknown version")
    text = f"{info.get('server_name', 'redis')} {version} answers"
    if info.get("role") == "slave":
        return Verdict(
            Status.FAIL,
            f"{text}, but is a replica, and refuses the worker's writes",
            "set FANFARE_REDIS_URL to the primary, or promote this server (REPLICAOF NO ONE)",
        )
    return Verdict(Status.OK, text)


def _check_answer(settings: Settings) -> list[Verdict]:
    with open_redis(settings) as redis:
        redis.ping()
        try:
            return [role_verdict(redis.info())]
        except ResponseError:  # the check of the settings says what to do
            return [Verdict(Status.OK, "answers")]


def _check_settings(settings: Settings) -> list[Verdict]:
    found = [verdict_of_finding(finding) for finding in redis_check(settings)()]
    return found or [Verdict(Status.OK, "evict no checkpoints, and outlast a restart")]


def _clock(settings: Settings) -> float:
    with open_redis(settings) as redis:
        seconds, microseconds = redis.time()
    return float(seconds) + float(microseconds) / 1e6
