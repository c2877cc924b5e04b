"""Reads the metrics of the processes of an instance, again and again, each in a thread of its own.

A process that hangs makes nobody else wait.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from core.rpc.tls import client_context, open_url
from core.runtime.metrics_ports import metrics_addresses
from core.settings import Settings, host_and_port
from ops.samples import Scrape, Window, parse

SCRAPE_SECONDS = 1.0
# Rates are those of this time.
WINDOW_SECONDS = 10.0
TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Observation:
    """What is known of a process."""

    name: str
    window: Window
    problem: str
    """Why the process does not answer; empty if it does."""


class Scraper:
    """Scrapes one process until the program ends."""

    def __init__(self, name: str, address: str, tls_dir: Path | None) -> None:
        """Prepare to scrape.

        Args:
            name: the process.
            address: host:port of its metrics.
            tls_dir: the folder of certificates; None where TLS is off.
        """
        self.name, self.address = name, address
        self._tls_dir = tls_dir
        self._lock = threading.Lock()
        self._scrapes: deque[Scrape] = deque()
        self._problem = "not asked yet"

    def start(self) -> None:
        """Begin to scrape in the background."""
        threading.Thread(target=self._run, daemon=True).start()

    def observe(self) -> Observation:
        """Return what is known now."""
        with self._lock:
            while self._scrapes and self._scrapes[0].at < time.monotonic() - WINDOW_SECONDS:
                self._scrapes.popleft()
            return Observation(self.name, Window(list(self._scrapes)), self._problem)

    def scrape(self) -> None:
        """Scrape once, and remember the values, or why there are none."""
        at = time.monotonic()
        try:
            values, problem = parse(self._read()), ""
        except (OSError, HTTPException) as error:
            values, problem = {}, f"{self.address} does not answer: {_reason(error)}"
        except ValueError:
            values, problem = {}, f"what {self.address} answers are no metrics"
        with self._lock:
            self._problem = problem
            if values:
                self._scrapes.append(Scrape(at, values))

    def _run(self) -> None:
        while True:
            begun_at = time.monotonic()
            self.scrape()
            time.sleep(max(0.0, begun_at + SCRAPE_SECONDS - time.monotonic()))

    def _read(self) -> str:
        scheme = "http" if self._tls_dir is None else "https"
        context = client_context(self._tls_dir)
        url = f"{scheme}://{self.address}/metrics"
        with open_url(url, context, TIMEOUT_SECONDS) as answer:
            return answer.read().decode()


def scrapers(settings: Settings) -> list[Scraper]:
    """Return a scraper for each process of the instance; none if metrics are off.

    Where the operator has set the target of a service, its metrics are on that host.
    """
    targets = {"write": settings.write_target, "read": settings.read_target}
    found = []
    for program, addresses in metrics_addresses(settings).items():
        host = targets.get(program, "").rpartition(":")[0]
        for number, address in enumerate(addresses, 1):
            place = host_and_port(host, int(address.rpartition(":")[2])) if host else address
            name = f"{program} {number}" if len(addresses) > 1 else program
            found.append(Scraper(name, place, settings.tls_dir))
    return found


def _reason(error: OSError | HTTPException) -> str:
    # urllib wraps the error of the connection in one that has it as its reason.
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or cause or type(error).__name__)
