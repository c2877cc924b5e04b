"""Pin the jars of clients/java: `python -m clients.generate.java_jars`, from the root; needs Maven.

Debian's Maven cannot check pinned hashes. So clients/java/jars.txt has the SHA-256 of each jar that
pom.xml resolves to, and our own builds and tests use these files only. Run this after a change of a
version in pom.xml, and look at the difference.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

from clients.generate.java import CLIENT

JARS = CLIENT / "jars.txt"
# Runs the tests without Maven's plugin, which has no pinned hashes.
TEST_RUNNER = "org.junit.platform:junit-platform-console-standalone:6.1.3"
# What TEST_RUNNER contains.
WITHIN_TEST_RUNNER = ("org.junit.", "org.opentest4j:")
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"


def _copy(goal: str, *options: str) -> None:
    command = ["mvn", "--batch-mode", "--quiet", f"{PLUGIN}:{goal}", *options]
    subprocess.run([*command, "-Dmdep.useRepositoryLayout=true"], cwd=CLIENT, check=True)


def pins() -> dict[str, str]:
    """Return the SHA-256 of each jar, by its Maven coordinates."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _copy("copy-dependencies", f"-DoutputDirectory={folder}")
        found = {
            _coordinates(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*.jar")
        }
    kept = {key: value for key, value in found.items() if not key.startswith(WITHIN_TEST_RUNNER)}
    with tempfile.TemporaryDirectory() as name:
        _copy("copy", f"-Dartifact={TEST_RUNNER}", f"-DoutputDirectory={name}")
        (runner,) = Path(name).rglob("*.jar")
        kept[TEST_RUNNER] = hashlib.sha256(runner.read_bytes()).hexdigest()
    return kept


def _coordinates(path: Path) -> str:
    """Return group:artifact:version of a jar, by its path in a Maven repository."""
    *group, artifact, version, _ = path.parts
    return f"{'.'.join(group)}:{artifact}:{version}"


if __name__ == "__main__":
    JARS.write_text("".join(f"{key} {value}\n" for key, value in sorted(pins().items())))
