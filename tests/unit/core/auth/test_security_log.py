"""The security log, and how it bounds what callers can repeat."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.auth import security_log
from core.auth.access_tokens import Caller
from core.auth.addresses import FORWARDED_KEY, ClientAddresses, parse_networks
from core.auth.security_log import MAX_KINDS, Event, SecurityLog

PROXY = "10.0.0.1"


class _Call:
    certificate_names = ()

    def __init__(self, address: str, caller: Caller | None = None, forwarded: str = "") -> None:
        self.caller = caller or Caller()
        self.address = address
        self.metadata = [(FORWARDED_KEY, forwarded)] if forwarded else []


class _Log:
    """A security log whose time and lines a test sees."""

    def __init__(self) -> None:
        self.now = 1_000_000_020.0  # in the middle of a minute
        self.written: list[str] = []
        addresses = ClientAddresses(parse_networks(PROXY))
        self.log = SecurityLog("read", self.written.append, addresses, clock=lambda: self.now)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written]


def test_a_line_says_who_did_what_from_where() -> None:
    """Each line is one JSON object with stable names; the address is the client's own."""
    own = _Log()
    call = _Call(PROXY, Caller(7), forwarded="203.0.113.9")
    own.log.record(Event.SIGN_IN, call, "CreateSession", 7, session="abc")
    assert own.lines() == [
        {
            "time": "2001-09-09T01:47:00.000+00:00",
            "event": "sign_in",
            "service": "read",
            "method": "CreateSession",
            "user_id": 7,
            "address": "203.0.113.9",
            "result": "OK",
            "session": "abc",
        }
    ]


def test_a_service_that_calls_is_named() -> None:
    """A refused call of a service shows the service's name."""
    own = _Log()
    call = _Call("198.51.100.1", Caller(service="feed"))
    own.log.refuse(Event.CALL_REFUSED, call, "DeleteUser", "PERMISSION_DENIED", None)
    assert own.lines()[0]["calling_service"] == "feed"


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 400), st.integers(1, 3), st.integers(0, 20)),
        max_size=60,
    )
)
def test_every_refused_call_is_counted_once(calls: list[tuple[int, int, int, int]]) -> None:
    """However many calls are refused: the lines are bounded, and their counts add up."""
    own = _Log()
    expected: Counter[int] = Counter()
    minutes = set()
    for user, host, times, pause in calls:
        own.now += pause
        minutes.add(own.now // 60)
        for _ in range(times):
            call = _Call(f"198.51.100.{host % 256}", Caller(user))
            own.log.refuse(Event.CALL_REFUSED, call, "GetUser", "RATE_LIMITED", user)
            expected[user] += 1
    own.log.summarise()
    counted: Counter[int] = Counter()
    for line in own.lines():
        counted[line["user_id"]] += line.get("count", 1)
    assert counted == expected
    assert len(own.written) <= len(minutes) * 2 * (MAX_KINDS + 1)


def test_a_flood_from_everywhere_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses beyond the limit are counted together, and an IPv6 /64 network is one address."""
    monkeypatch.setattr(security_log, "MAX_KINDS", 3)
    own = _Log()
    for number in range(50):
        for address in (f"198.51.100.{number}", f"2001:db8::{number}"):
            own.log.refuse(
                Event.SIGN_IN_FAILED, _Call(address), "CreateSession", "INVALID_CREDENTIALS", None
            )
    own.log.summarise()
    lines = own.lines()
    assert len(lines) <= 2 * 4
    assert sum(line.get("count", 1) for line in lines) == 100
    assert {line["address"] for line in lines} == {
        *("198.51.100.0", "2001:db8::", "198.51.100.1", "others"),
    }
