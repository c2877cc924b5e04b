"""The jars of Kafka, which must be the pinned ones."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from embedded import jars
from embedded.errors import StackError
from embedded.ports import free_ports
from embedded.stack import default_parts_dir


def test_a_jar_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A jar that was changed on disk is found at the next start."""
    good = default_parts_dir() / "kafka" / "slf4j-api-1.7.36.jar"
    coordinates = "org.slf4j:slf4j-api:1.7.36"
    digest = jars.pinned_hashes()[coordinates]
    monkeypatch.setattr(jars, "pinned_hashes", lambda: {coordinates: digest})
    copy = tmp_path / good.name
    copy.write_bytes(good.read_bytes())
    assert jars.kafka_jars(tmp_path, print, threading.Event()) == [copy]
    copy.write_bytes(good.read_bytes() + b"x")
    with pytest.raises(StackError, match="delete it to have it fetched again"):
        jars.kafka_jars(tmp_path, print, threading.Event())


def test_a_fetched_jar_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetched jar that differs from its pin is not kept."""
    other = tmp_path / "other"
    other.write_text("other")
    monkeypatch.setattr(jars, "pinned_hashes", lambda: {"g:a:1": "0" * 64})
    monkeypatch.setattr(jars, "_resolver", lambda _: lambda _: other)
    with pytest.raises(
        StackError, match=r"fetched as g:a:1 differs from its pin in kafka-jars\.txt"
    ):
        jars.kafka_jars(tmp_path / "kafka", print, threading.Event())
    assert not list((tmp_path / "kafka").glob("*.jar"))


def test_a_missing_network_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch without a network fails with a reason, and leaves nothing behind."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(StackError, match="check the network, which the first run needs"):
        jars.kafka_jars(tmp_path, print, threading.Event())
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
