"""Watches a running system: the metrics of its processes, and what `fanfare status` finds."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from core.settings import Settings
from ops.errors import OpsError
from ops.feed_status import Feed
from ops.scraper import scrapers
from ops.status import StatusRow, read_state
from ops.watch import View, view

# The pause between two looks at the servers themselves, which cost them more than metrics do.
STATE_SECONDS = 10.0


class Watcher:
    """Looks at a system in the background until the program ends."""

    def __init__(self, settings: Settings) -> None:
        """Prepare to watch the system that these settings are of.

        Raises:
            OpsError: the processes have no metrics.
            SettingsError: the address of a server is not known.
        """
        self._settings = settings
        self._scrapers = scrapers(settings)
        if not self._scrapers:
            raise OpsError(
                "FANFARE_METRICS_PORT is 0, so there are no metrics to watch; set it for all "
                "processes and for this command, or run `fanfare status` without --watch"
            )
        self._feed = Feed(settings)
        self._state: list[StatusRow] | None = None
        self._state_at = 0.0

    def start(self) -> None:
        """Begin to look."""
        for scraper in self._scrapers:
            scraper.start()
        threading.Thread(target=self._watch_state, daemon=True).start()

    def look(self) -> View:
        """Return what is known now."""
        seen = view([scraper.observe() for scraper in self._scrapers], time.time())
        return replace(seen, rows=[*seen.rows, *self._state_rows()])

    def _state_rows(self) -> list[StatusRow]:
        if self._state is None:
            return [StatusRow("status", "not known yet")]
        wrong = [row for row in self._state if row.is_wrong]
        age = f"{time.monotonic() - self._state_at:.0f} s ago"
        text = f"{len(wrong)} of {len(self._state)} not right" if wrong else "all right"
        return [*wrong, StatusRow("status", f"{text}, {age}")]

    def _watch_state(self) -> None:
        while True:
            try:
                rows = read_state(self._settings, self._feed)
            except Exception as error:  # noqa: BLE001 - nobody would see the traceback
                text = f"cannot be read: {type(error).__name__}"
                rows = [StatusRow("status", text, is_wrong=True)]
            self._state, self._state_at = rows, time.monotonic()
            time.sleep(STATE_SECONDS)
