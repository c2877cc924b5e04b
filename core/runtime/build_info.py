"""Which release of Fanfare this is."""

from __future__ import annotations

from functools import cache
from importlib import metadata

from prometheus_client import Info


@cache
def version() -> str:
    """Return the version of the installed package."""
    return metadata.version("fanfare")


def export_build_info(revision: str) -> None:
    """Export the version and the revision as the metric fanfare_build_info, whose value is 1."""
    _BUILD.info({"version": version(), "revision": revision})


_BUILD = Info("fanfare_build", "The release that runs.")
