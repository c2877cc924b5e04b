"""Checks the settings of servers when a process starts, and regularly while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from core.runtime.process import StartError
from core.runtime.tasks import cancel
from core.storage.settings_checks import Check, SettingsUnknownError
from core.storage.settings_rules import Finding, Rule, Severity

LOG = logging.getLogger(__name__)
# How long a process waits for the first results when it starts. After that it starts without the
# results of servers that have not answered.
START_SECONDS = 5.0
CHECK_SECONDS = 30.0
# The pause between checks while a server does not answer, or has a setting that is an error.
RETRY_SECONDS = 2.0


class SettingsMonitor:
    """Holds the findings for a process's servers, and logs each that appears or is corrected."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        """Create a monitor; the keys of the checks are the names of the servers."""
        self._checks = checks
        self._findings: dict[str, Sequence[Finding]] = {}
        self._unanswered = set(checks)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, *, refuse: bool = True) -> None:
        """Check the servers once, then regularly until stop().

        A server that does not answer yet is checked again after every RETRY_SECONDS until it does.

        Args:
            refuse: whether to raise StartError for a finding that is an error.

        Raises:
            StartError: there is such a finding, and refuse is True.
        """
        first = {asyncio.create_task(self._check(server)) for server in self._checks}
        _, late = await asyncio.wait(first, timeout=START_SECONDS)
        self._tasks |= late
        if refuse and (reason := self.trouble()) is not None:
            raise StartError(f"{reason}.")
        self._tasks.add(asyncio.create_task(self._run()))

    async def stop(self) -> None:
        """Stop checking."""
        await cancel(*self._tasks)

    def trouble(self, *servers: str) -> str | None:
        """Return the first finding that is an error, or None.

        Args:
            servers: the names of the servers to look at; without any, all servers.
        """
        for server in servers or self._checks:
            for finding in self._findings.get(server, ()):
                if finding.severity is Severity.ERROR:
                    return finding.text
        return None

    def answers(self, server: str) -> bool:
        """Return whether a server answered when it was last checked."""
        return server not in self._unanswered

    def broken_rules(self) -> dict[Rule, bool]:
        """Return for each rule about the servers of this process whether a setting breaks it.

        A finding that is only a note does not count.
        """
        broken = {
            finding.rule
            for findings in self._findings.values()
            for finding in findings
            if finding.severity > Severity.NOTE
        }
        servers = {server.lower() for server in self._checks}
        return {rule: rule in broken for rule in Rule if rule.partition("_")[0] in servers}

    async def _run(self) -> None:
        while True:
            is_urgent = self._unanswered or self.trouble() is not None
            await asyncio.sleep(RETRY_SECONDS if is_urgent else CHECK_SECONDS)
            await asyncio.gather(*map(self._check, self._checks))

    async def _check(self, server: str) -> None:
        try:
            found = await asyncio.to_thread(self._checks[server])
        except SettingsUnknownError:
            # Keep the earlier findings: nothing shows that they were corrected.
            self._unanswered.add(server)
            return
        except Exception:
            LOG.exception("check of server settings failed: server=%s", server)
            self._unanswered.add(server)
            return
        self._unanswered.discard(server)
        before = self._findings.get(server, ())
        self._findings[server] = found
        for finding in found:
            if finding not in before:
                LOG.log(finding.severity, "server setting: %s", finding.text)
        for finding in before:
            if finding not in found:
                LOG.info("server setting corrected: %s", finding.text)
