"""What `fanfare status --watch` makes of the metrics of the processes."""

from __future__ import annotations

import pytest

from core.settings import Settings
from ops.samples import Scrape, Window, parse
from ops.scraper import Observation, Scraper, scrapers
from ops.status import MAX_OUTBOX_SECONDS
from ops.watch import format_bytes, format_number, format_seconds, process_row, view

NOW = 1_000_000.0


def _observation(name: str, *texts: str, problem: str = "") -> Observation:
    """Return a process with these metrics, ten seconds after each other."""
    scrapes = [Scrape(10.0 * number, parse(text)) for number, text in enumerate(texts)]
    return Observation(name, Window(scrapes), problem)


def _rows(*texts: str) -> dict[str, tuple[str, bool]]:
    shown = view([_observation("process", *texts)], NOW)
    return {row.label: (row.text, row.is_wrong) for row in shown.rows}


CALLS = """
grpc_server_handled_total{{grpc_method="A",grpc_code="OK"}} {ok}
grpc_server_handled_total{{grpc_method="B",grpc_code="NotFound"}} {missing}
grpc_server_handled_total{{grpc_method="B",grpc_code="Internal"}} {bug}
http_server_handled_total{{http_route="/users",http_status="201"}} {ok}
http_server_handled_total{{http_route="/users",http_status="503"}} {bug}
grpc_server_handling_seconds_bucket{{le="0.1"}} {ok}
grpc_server_handling_seconds_bucket{{le="+Inf"}} {ok}
process_start_time_seconds 999940
process_cpu_seconds_total {bug}
process_resident_memory_bytes 1048576
fanfare_postgres_connections{{pool="write",state="used"}} 3
fanfare_postgres_connections{{pool="write",state="idle"}} 7
fanfare_postgres_waiting{{pool="write"}} 2
"""
OUTBOX = """
fanfare_relay_is_leader 1
fanfare_outbox_unsent_events 12
fanfare_outbox_oldest_unsent_seconds %(seconds)g
fanfare_relay_batch_events_sum %(sent)d
"""
FANOUT = """
fanfare_consumer_lag_events{partition="0"} 3
fanfare_consumer_lag_events{partition="1"} 4
fanfare_consumer_lag_seconds{partition="0"} 0.5
fanfare_consumer_lag_seconds{partition="1"} 2
fanfare_fanout_deliveries_total %(n)d000
fanfare_fanout_batch_records_sum %(n)d0
fanfare_fanout_bytes_total %(n)d0240
fanfare_fanout_freshness_seconds_bucket{le="0.1"} %(n)d
fanfare_fanout_freshness_seconds_bucket{le="+Inf"} %(n)d
"""
READS = """
fanfare_timeline_reads_total{source="local"} %(n)d
fanfare_timeline_reads_total{source="redis"} %(n)d
fanfare_timeline_reads_total{source="built"} 0
fanfare_timeline_reads_total{source="postgres"} %(n)d
fanfare_local_tweet_lookups_total{result="hit"} %(n)d
fanfare_local_tweet_lookups_total{result="miss"} 0
fanfare_local_tweets 500
fanfare_local_timelines 20
fanfare_local_timeline_bytes 2048
"""
TROUBLE = """
fanfare_redis_up %(up)d
fanfare_redis_memory_bytes{kind="used"} 1048576
fanfare_redis_memory_bytes{kind="max"} 0
fanfare_timeline_verifications_total{result="wrong"} %(wrong)d
fanfare_dead_letters %(wrong)d
fanfare_setting_unsafe{rule="fsync"} %(wrong)d
fanfare_setting_unsafe{rule="autovacuum"} 0
fanfare_events_total{event="list_compacted"} %(wrong)d0
fanfare_events_total{event="dead_letter"} 0
fanfare_replica_lag_seconds NaN
"""


def test_the_row_of_a_process() -> None:
    """GRPC and REST count together; only failures through no fault of the caller are failures."""
    observation = _observation(
        "write",
        CALLS.format(ok=0, missing=0, bug=0),
        CALLS.format(ok=100, missing=50, bug=10),
    )
    row = process_row(observation, NOW)
    assert row.calls_per_second == pytest.approx(27)
    assert row.failures_per_second == pytest.approx(2)
    assert row.median_seconds == pytest.approx(0.05)
    assert row.p99_seconds == pytest.approx(0.099)
    assert (row.connections_used, row.connections, row.waiting) == (3, 10, 2)
    assert (row.cores, row.memory_bytes, row.uptime_seconds) == (1, 1 << 20, 60)


def test_a_process_of_which_nothing_is_known() -> None:
    """No metric is required, and none is taken to be zero."""
    row = process_row(_observation("write", problem="refused"), NOW)
    assert (row.problem, row.calls_per_second, row.p99_seconds, row.waiting) == (
        "refused",
        None,
        None,
        None,
    )
    assert view([], NOW).rows == []
    assert _rows("up 1") == {}


def test_the_outbox_is_that_of_the_active_relay() -> None:
    """An old event is not right, and neither are relays that all stand by."""
    rows = _rows(OUTBOX % {"seconds": 0, "sent": 0}, OUTBOX % {"seconds": 0.5, "sent": 900})
    assert rows["outbox"] == ("12 unsent, the oldest for 500 ms; the relay sends 90/s", False)
    assert _rows(OUTBOX % {"seconds": MAX_OUTBOX_SECONDS + 1, "sent": 0})["outbox"][1]
    stands_by = "fanfare_relay_is_leader 0\nfanfare_outbox_unsent_events 0"
    assert _rows(stands_by)["outbox"] == ("no relay is active", True)
    both = view(
        [
            _observation("write", stands_by),
            _observation("write 2", OUTBOX % {"seconds": 0, "sent": 0}),
        ],
        NOW,
    )
    assert both.rows[0].text.startswith("12 unsent")


def test_the_fan_out() -> None:
    """Lag is summed over the partitions; the oldest counts."""
    rows = _rows(FANOUT % {"n": 0}, FANOUT % {"n": 2})
    assert rows == {
        "lag": ("7 events, the oldest for 2 s", False),
        "freshness": ("median 50 ms, p99 99 ms", False),
        "fan-out": ("2 events/s to 200 deliveries/s, 1.95 KiB/s", False),
    }


def test_the_hit_rates() -> None:
    """A hit is what costs Postgres nothing."""
    rows = _rows(READS % {"n": 0}, READS % {"n": 100})
    assert rows["timeline reads"] == (
        "30/s, hit rate 66.7% (local 33%, postgres 33%, redis 33%)",
        False,
    )
    assert rows["in memory"][0] == "500 tweets (hit rate 100.0% of 10/s), 20 timelines of 2 KiB"
    idle = _rows(READS % {"n": 1}, READS % {"n": 1})
    assert idle["timeline reads"] == ("0/s", False)
    assert "watches" not in _rows("fanfare_watches 0")
    assert _rows("fanfare_watches 1234")["watches"] == ("1,234 open", False)


def test_what_should_be_zero_is_shown_where_it_is_not() -> None:
    """Redis down, wrong timelines, dead letters, and unsafe settings are not right."""
    good, bad = TROUBLE % {"up": 1, "wrong": 0}, TROUBLE % {"up": 0, "wrong": 2}
    assert _rows(good, good) == {"Redis": ("up, 1 MiB used", False)}
    assert _rows(good, bad) == {
        "Redis": ("down for 1 of 1 processes, 1 MiB used", True),
        "verified timelines": ("2 wrong since the worker started", True),
        "dead letters": ("2 wait; see `fanfare dlq list`", True),
        "unsafe settings": ("fsync; see `fanfare doctor`", True),
        "rare events": ("list_compacted 2/s", False),
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0 ms"),
        (0.01234, "12.3 ms"),
        (1.5, "1.5 s"),
        (119, "119 s"),
        (3600, "60 min"),
        (7200, "2 h"),
        (3e5, "3 days"),
    ],
)
def test_times_are_short(seconds: float | None, text: str) -> None:
    """They fit into a narrow column."""
    assert format_seconds(seconds) == text


def test_numbers_are_short() -> None:
    """Large numbers have no digits that nobody reads."""
    assert [format_number(number) for number in (None, 0.0, 0.1234, 7.0, 12345.6)] == [
        "-",
        "0",
        "0.123",
        "7",
        "12,346",
    ]
    assert [format_bytes(size) for size in (None, 12, 5e6, 3e12)] == [
        "-",
        "12 B",
        "4.77 MiB",
        "2,794.0 GiB",
    ]


def test_metrics_are_where_the_processes_are() -> None:
    """On this machine, or on the host of a service's target; every prefork process has its own."""
    given = Settings(metrics_port=9100, read_processes=2, write_target="writer.example:50051")
    assert [(scraper.name, scraper.address) for scraper in scrapers(given)] == [
        ("write", "writer.example:9100"),
        ("read 1", "127.0.0.1:9101"),
        ("read 2", "127.0.0.1:9111"),
        ("worker", "127.0.0.1:9102"),
    ]
    assert scrapers(Settings(metrics_port=0)) == []


def test_a_process_that_stops_answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told why; its earlier values remain until they are too old."""
    scraper = Scraper("write", "127.0.0.1:1", None)
    answers: list[str | Exception] = [
        "up 1\n",
        ConnectionRefusedError(111, "Connection refused"),
        "<html>",
    ]

    def read() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(scraper, "_read", read)
    assert scraper.observe().problem == "not asked yet"
    problems = []
    while answers:
        scraper.scrape()
        problems.append(scraper.observe().problem)
    assert problems == [
        "",
        "127.0.0.1:1 does not answer: Connection refused",
        "what 127.0.0.1:1 answers are no metrics",
    ]
    assert scraper.observe().window.latest("up") == [1]
    monkeypatch.setattr("ops.scraper.WINDOW_SECONDS", -1.0)
    assert scraper.observe().window.latest("up") == []
