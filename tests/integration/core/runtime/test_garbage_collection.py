"""What Python's garbage collector does in the processes."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import asyncio
import gc
from core.runtime.process import run
from core.settings import Settings

async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    print(gc.get_freeze_count() > 10_000)

run(serve)
"""


def test_the_objects_of_modules_are_left_out() -> None:
    """Going through all of them would stop a service for tens of milliseconds."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FANFARE_")}
    environment["FANFARE_ALLOW_UNAUTHENTICATED_PLAINTEXT"] = "true"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
