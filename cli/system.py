"""The whole of Fanfare on this machine: the embedded stack and the four processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from core.health_probe import probe
from core.settings import PREFIX, Settings, load_settings
from embedded.stack import Ports, Stack, StackError

START_SECONDS = 60.0
DRAIN_SECONDS = 20.0
POLL_SECONDS = 0.05
