"""Where the load generators are, and how to install those that are missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from core.settings_loading import load_settings
from embedded.causes import real_path

# Compiled programs, because a gRPC client in Python uses as much CPU as the measured server.
PACKAGES = {
    "ghz": "`make bench-tools` builds it if Go is installed (github.com/bojand/ghz)",
    "h2load": "it is in the Debian package nghttp2-client",
    "pgbench": "it is in the Debian package postgresql-contrib",
    "wrk": "it is in the Debian package wrk",
}


def find_tool(name: str) -> Path | None:
    """Return the path of a tool in FANFARE_STATE_DIR/tools or on PATH, or None."""
    own = real_path(load_settings().state_dir) / "tools"
    found = shutil.which(name, path=f"{own}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    return Path(found) if found else None


def describe_missing_tools(tools: Iterable[str]) -> str:
    """Return which of the tools are not installed and how to get them, or "" if all are."""
    missing = [name for name in tools if find_tool(name) is None]
    return "; ".join(f"{name} is not installed: {PACKAGES[name]}" for name in missing)
