"""The parts of the page that need no server: counting, Server-Sent Events, and the kept stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from helpers.chromium import Chromium, Tab, chromium_path
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from gateway.demo_page import FOLDER
from write_service.drafts import normalise_content

# White space of Python and of JavaScript, which differ; line ends; letters that NFC composes, puts
# into another order, or replaces; and pairs of surrogates.
_ALPHABET = (
    "\t\n\r \u00a0\u1680\u2003\u2028\u202f\u3000\ufeff\u200b\u180e\u2060"
    "aé\u0301\u0323e\u212b\u2126\u1100\u1161\u11a8가\ufb33\u0958👋🏽🇩\u202e<&"
)
_TEXTS = st.one_of(
    st.text(st.sampled_from(_ALPHABET), max_size=20),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cn"]), max_size=20),
    st.builds(
        lambda unit, count, rest: unit * count + rest,
        st.sampled_from(["x", "é", "e\u0301", "👋", " \n", "\ufb33", "\r\n"]),
        st.sampled_from([1, 279, 280, 281, 560, 1119, 1120, 1121]),
        st.sampled_from(["", " ", "y", "\u0301"]),
    ),
)


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """Yield a tab that can import the page's modules."""
    chromium_path()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(FOLDER)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
            yield browser.open(f"http://127.0.0.1:{server.server_port}/icon.svg")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _run(tab: Tab, script: str) -> Any:
    """Return what the body of an async function returns, in the page."""
    return tab.evaluate(f"(async () => {{ {script} }})()")


def _counted(content: str) -> list[Any]:
    """Return the stored form, and what is wrong, as the write service says it."""
    try:
        return [normalise_content(content), None]
    except InvalidRequestError as error:
        return [None, error.violations[0][1]]


@settings(max_examples=10)
@given(st.lists(_TEXTS, min_size=20, max_size=40))
def test_the_page_counts_as_the_write_service_does(tab: Tab, texts: list[str]) -> None:
    """Its normalised text, and its words for a text that is empty or too long, are the same."""
    found = _run(
        tab,
        f"""
        const {{ contentProblem, normaliseContent }} = await import("/modules/text.js");
        return {json.dumps(texts)}.map((text) => {{
          const problem = contentProblem(text);
          return [problem === null ? normaliseContent(text) : null, problem];
        }});
        """,
    )
    for text, each in zip(texts, found, strict=True):
        assert each == _counted(text), ascii(text)


def test_control_characters_are_a_problem(tab: Tab) -> None:
    """All but tabs and line ends are refused before anything is sent."""
    found = _run(
        tab,
        """
        const { contentProblem } = await import("/modules/text.js");
        const all = Array.from({ length: 256 }, (_, code) => code);
        return all.filter((code) => /control/.test(
          contentProblem("a" + String.fromCharCode(code) + "b") ?? ""));
        """,
    )
    assert found == [n for n in range(256) if (n < 32 or 127 <= n < 160) and n not in {9, 10, 13}]


STREAM = (
    "retry: 1500\n\n: heartbeat\n\n"
    'id: t1\nevent: tweet\ndata: {"tweet":\r\ndata:{"id": "1"}}\r\n\r\n'
    "id: with\0nul\revent: removed\rdata\r\rid: t2\n\n"
    "data: é👋\nunknown: x\nretry: soon\n\n"
    "event: unfinished\ndata: x\n"
)
EVENTS = [
    {"kind": "retry", "milliseconds": 1500},
    {"kind": "comment", "text": "heartbeat"},
    {"kind": "event", "type": "tweet", "data": '{"tweet":\n{"id": "1"}}'},
    {"kind": "event", "type": "removed", "data": ""},
    {"kind": "event", "type": "message", "data": "é👋"},
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_parsed_wherever_the_stream_is_cut(tab: Tab, size: int) -> None:
    """All kinds of line ends, fields without value, ids with NUL, and an event without its end."""
    found, last = _run(
        tab,
        f"""
        const {{ EventParser }} = await import("/modules/sse.js");
        const parser = new EventParser();
        const text = {json.dumps(STREAM)};
        const found = [];
        for (let at = 0; at < text.length; at += {size}) {{
          found.push(...parser.push(text.slice(at, at + {size})));
        }}
        return [found, parser.lastEventId];
        """,
    )
    assert (found, last) == (EVENTS, "t2")


def test_the_tweets_that_a_client_holds(tab: Tab) -> None:
    """Ids are compared exactly; an edit replaces, a removal of nothing is no error."""
    found = _run(
        tab,
        """
        const { Timeline } = await import("/modules/timeline.js");
        const timeline = new Timeline();
        const ids = () => timeline.newestFirst().map(({ id, content }) => id + content);
        const tweet = (id, content) => timeline.apply({ tweet: { id, content } });
        const seen = [];
        seen.push(tweet("9", "a"), tweet("9007199254740993", "b"), tweet("9007199254740992", "c"));
        seen.push(tweet("9", "edited"), ids());
        timeline.apply({ removed_tweet_id: "9007199254740993" });
        timeline.apply({ removed_tweet_id: "77" });
        seen.push(ids());
        timeline.apply({ reset: {} });
        seen.push(ids());
        return seen;
        """,
    )
    edited = ["9007199254740993b", "9007199254740992c", "9edited"]
    assert found == [True, True, True, False, edited, edited[1:], []]


def test_the_delay_grows_and_is_spread(tab: Tab) -> None:
    """It doubles up to half a minute, is at least half of that, and as long as an error asks."""
    found = _run(
        tab,
        """
        const { reconnectDelay } = await import("/modules/stream.js");
        return [[0, 1000, 0, 1], [0, 1000, 0, 0], [3, 1000, 0, 1], [40, 5000, 0, 1],
          [0, 1000, 4000, 0]].map((given) => reconnectDelay(...given));
        """,
    )
    assert found == [1000, 500, 8000, 30_000, 4000]


# A server whose answers a story gives; the story ends with the states and the tokens that it saw.
_PLAY = """
const { Stream } = await import("/modules/stream.js");
const { CallError } = await import("/modules/errors.js");
const opened = [], states = [], events = [];
let waiting = () => {};
const next = () => new Promise((resolve) => { waiting = resolve; });
const send = (controller, text) => controller.enqueue(new TextEncoder().encode(text));
const open = (token, signal) => new Promise((resolve, reject) => {
  opened.push(token);
  let body;
  const stream = new ReadableStream({ start(controller) { body = controller; } });
  signal.addEventListener("abort", () => { try { body.error(new Error("aborted")); } catch {} });
  waiting({ answer: () => resolve(new Response(stream)), refuse: reject, body, signal });
});
const failure = (reason, fields = {}) => Object.assign(new CallError(reason), { reason }, fields);
const stream = new Stream(open, HEARTBEAT_MS, (some) => events.push(...some),
  (error) => states.push(error?.reason ? `${stream.state}: ${error.reason}` : stream.state));
const state = async (wanted) => {
  while (stream.state !== wanted) { await new Promise((resolve) => setTimeout(resolve, 1)); }
};
const first = next();
stream.start();
let call = await first;
call.answer();
send(call.body, 'retry: 1\\n\\nid: t1\\nevent: tweet\\ndata: {"tweet": {"id": "1"}}\\n\\n');
await Promise.resolve();
send(call.body, ": heartbeat\\n\\n");
await state("live");
"""


def _play(tab: Tab, story: str, heartbeat_ms: int = 60_000) -> dict[str, Any]:
    """Return what a kept stream did in a story that follows its first heartbeat."""
    script = _PLAY.replace("HEARTBEAT_MS", str(heartbeat_ms))
    played: dict[str, Any] = _run(
        tab,
        f"{script} {story} stream.pause(); return {{ opened, states, events }};",
    )
    return played


def test_a_stream_that_ends_is_resumed(tab: Tab) -> None:
    """A drain, a broken connection and a refusal are followed by a resumption where it was."""
    played = _play(
        tab,
        """
        let coming = next();
        send(call.body, "retry: 2\\n\\n"); call.body.close();
        call = await coming; coming = next();
        call.refuse(failure("SHUTTING_DOWN", { isTemporary: true, retryMs: 1 }));
        call = await coming; coming = next();
        call.answer();
        send(call.body, 'id: t2\\nevent: removed\\ndata: {"removed_tweet_id": "1"}\\n\\nid: t3');
        while (events.length < 2) { await new Promise((resolve) => setTimeout(resolve, 1)); }
        call.body.error(new Error("broken"));
        call = await coming;
        call.answer();
        send(call.body, ": heartbeat\\n\\n");
        await state("live");
        """,
    )
    assert played["opened"] == ["", "t1", "t1", "t2"]
    assert played["states"] == ["connecting", "live", "reconnecting", "live", "paused"]
    assert played["events"] == [{"tweet": {"id": "1"}}, {"removed_tweet_id": "1"}]


def test_a_stream_that_is_lost_for_long_is_offline(tab: Tab) -> None:
    """After half a minute without a heartbeat it is not called reconnecting any more."""
    played = _play(
        tab,
        """
        let coming = next();
        call.body.close();
        call = await coming; coming = next();
        const real = Date.now;
        Date.now = () => real() + 31_000;
        call.refuse(failure("UNAVAILABLE", { isTemporary: true }));
        await state("offline");
        Date.now = real;
        call = await coming;
        call.answer();
        send(call.body, ": heartbeat\\n\\n");
        await state("live");
        """,
    )
    assert played["states"] == [
        *("connecting", "live", "reconnecting", "offline: UNAVAILABLE", "live", "paused"),
    ]


def test_a_silent_server_is_left(tab: Tab) -> None:
    """No byte for two and a half heartbeats ends the connection, and it is resumed."""
    played = _play(
        tab,
        """
        const heard = performance.now();
        call = await next();
        states.push(performance.now() - heard > 100);
        """,
        heartbeat_ms=50,
    )
    assert played["states"] == ["connecting", "live", "reconnecting", True, "paused"]
    assert played["opened"] == ["", "t1"]


def test_a_token_that_the_server_does_not_know_is_forgotten(tab: Tab) -> None:
    """What the client holds is taken out, since the first page follows without a reset."""
    played = _play(
        tab,
        """
        let coming = next();
        call.body.close();
        call = await coming; coming = next();
        call.refuse(failure("INVALID_RESUME_TOKEN"));
        call = await coming;
        """,
    )
    assert played["opened"] == ["", "t1", ""]
    assert played["events"] == [{"tweet": {"id": "1"}}, {"reset": {}}]


def test_a_stream_ends_for_good_if_its_user_does(tab: Tab) -> None:
    """An event of an error that cannot be cured is the last thing that happens."""
    status = {
        "code": 5,
        "message": "there is no user 7",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "USER_NOT_FOUND",
                "domain": "fanfare",
                "metadata": {"user_id": "7"},
            }
        ],
    }
    event = json.dumps(f"event: error\ndata: {json.dumps(status)}\n\n")
    played = _play(tab, f'send(call.body, {event}); await state("ended"); stream.start();')
    assert played["opened"] == [""]
    assert played["states"] == ["connecting", "live", "ended: USER_NOT_FOUND"]


def test_an_access_token_that_expires_is_replaced_without_a_pause(tab: Tab) -> None:
    """The stream ends with UNAUTHENTICATED, and the next one has a new access token."""
    status = {
        "code": 16,
        "message": "expired",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "UNAUTHENTICATED",
                "domain": "fanfare",
                "metadata": {},
            }
        ],
    }
    event = json.dumps(f"event: error\ndata: {json.dumps(status)}\n\n")
    played = _play(
        tab,
        f"""
        let coming = next();
        send(call.body, {event});
        call = await coming;
        call.answer();
        send(call.body, ": heartbeat\\n\\n");
        await new Promise((resolve) => setTimeout(resolve, 20));
        """,
    )
    assert played["opened"] == ["", "t1"]
    assert played["states"] == ["connecting", "live", "paused"]


def test_a_refresh_reads_the_state_again_at_once(tab: Tab) -> None:
    """A command's effect is asked for with its token, and the state stays live."""
    played = _play(
        tab,
        """
        const coming = next();
        stream.refresh();
        call = await coming;
        """,
    )
    assert played["opened"] == ["", "t1"]
    assert played["states"] == ["connecting", "live", "paused"]


def test_a_paused_stream_goes_on_where_it_was(tab: Tab) -> None:
    """Pausing closes the connection; starting again resumes."""
    played = _play(
        tab,
        """
        stream.pause();
        states.push(call.signal.aborted);
        const coming = next();
        stream.start();
        call = await coming;
        call.answer();
        send(call.body, ": heartbeat\\n\\n");
        await state("live");
        """,
    )
    assert played["opened"] == ["", "t1"]
    assert played["states"] == [
        *("connecting", "live", "paused", True, "reconnecting", "live", "paused"),
    ]
