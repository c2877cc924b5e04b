"""The load generators: where they are, and how to get those that are not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from core.settings import load_settings

# Compiled, as a gRPC client in Python costs as much as the server that is measured.
PACKAGES = {
    "ghz": "`make bench-tools` builds it where Go is installed (github.com/bojand/ghz)",
    "h2load": "the Debian package nghttp2-client has it",
    "pgbench": "the Debian package postgresql-contrib has it",
    "wrk": "the Debian package wrk has it",
}


def find_tool(name: str) -> Path | None:
    """Return the tool in FANFARE_STATE_DIR/tools or on PATH; None where there is none."""
    own = load_settings().state_dir.resolve() / "tools"
    found = shutil.which(name, path=f"{own}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    return Path(found) if found else None


def missing(tools: Iterable[str]) -> str:
    """Return a phrase that says which of the tools are not here and what brings them, or ""."""
    absent = [name for name in tools if find_tool(name) is None]
    return "; ".join(f"{name} is not installed: {PACKAGES[name]}" for name in absent)
