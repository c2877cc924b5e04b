"""Compiles clients/java with the pinned jars: one javac, only after a change of a source."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from clients.generate.contract import ROOT
from clients.generate.java import CLIENT
from clients.generate.java_jars import JARS
from embedded.jars import PinnedFiles, parse_pins, pinned_files
from embedded.stack import default_parts_dir

SOURCES = ("gen", "src/main/java", "src/test/java", "story", "quickstart")
RESOURCES = CLIENT / "src" / "main" / "resources"
# One run of the compiler takes 5 seconds of CPU with these options, and 14 without.
JAVAC = ("javac", "-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC")
BUILT = ROOT / ".fanfare" / "clients" / "java"


def class_path() -> str:
    """Return the class path with the client, its tests, the story, and all that they need.

    Raises:
        StackError: A jar could not be fetched, or differs from its pin.
        CalledProcessError: The code does not compile; javac has printed why.
    """
    pins = PinnedFiles("the Java client", JARS.name, parse_pins(JARS.read_text()))
    jars = pinned_files(pins, default_parts_dir() / "java-client", print, threading.Event())
    sources = sorted(path for folder in SOURCES for path in (CLIENT / folder).rglob("*.java"))
    digest = hashlib.sha256(JARS.read_bytes())
    for source in sources:
        digest.update(f"{source}\0".encode() + source.read_bytes())
    classes = BUILT / digest.hexdigest()[:16]
    entries = [str(jar) for jar in jars]
    with JARS.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes may run tests
        if not classes.exists():
            _compile(sources, entries, classes)
    return os.pathsep.join([str(classes), str(RESOURCES), *entries])


def _compile(sources: Sequence[Path], jars: Sequence[str], classes: Path) -> None:
    """Compile into the folder `classes`, which replaces those of former sources."""
    shutil.rmtree(BUILT, ignore_errors=True)
    unfinished = BUILT / "unfinished"
    unfinished.mkdir(parents=True)
    arguments = unfinished.with_suffix(".txt")
    arguments.write_text("".join(f'"{source}"\n' for source in sources))
    command = [*JAVAC, "--release", "17", "-proc:none", "-nowarn", "-encoding", "UTF-8"]
    command += ["-d", str(unfinished), "-cp", os.pathsep.join(jars), f"@{arguments}"]
    subprocess.run(command, check=True)
    unfinished.rename(classes)
