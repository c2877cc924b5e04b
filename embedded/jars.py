"""Kafka's jars: the pinned list, fetched once and verified at every start."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import resources
from pathlib import Path

from embedded.server import StackError

LIST = "kafka-jars.txt"
FETCHERS = 6
ATTEMPTS = 4
TIMEOUT_SECONDS = 30

Progress = Callable[[str], None]


def pinned() -> dict[str, str]:
    """Return the SHA-256 of each jar of Kafka's runtime, by its Maven coordinates."""
    lines = resources.files("embedded").joinpath(LIST).read_text().split("\n")
    return dict(line.split(" ") for line in lines if line)


def kafka_jars(folder: Path, progress: Progress) -> list[Path]:
    """Return the jars in the folder, fetching those that are not there.

    Raises StackError when one cannot be fetched, or is not what the list says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jars = {coordinates: folder / _file_name(coordinates) for coordinates in pinned()}
    # One at a time fetches, whoever comes second finds them.
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [coordinates for coordinates, path in jars.items() if not path.exists()]
        if missing:
            _fetch(missing, folder, progress)
    for coordinates, path in jars.items():
        _verify(path, coordinates)
    return list(jars.values())


def _file_name(coordinates: str) -> str:
    _, artifact, version = coordinates.split(":")
    return f"{artifact}-{version}.jar"


def _verify(path: Path, coordinates: str) -> None:
    if hashlib.sha256(path.read_bytes()).hexdigest() != pinned()[coordinates]:
        raise StackError(
            f"{path} is not the {coordinates} that {LIST} pins: delete it to have it fetched again."
        )


def _fetch(missing: list[str], folder: Path, progress: Progress) -> None:
    # Imported here: only the first run needs it, and it takes a third of a second.
    with warnings.catch_warnings():
        # A library below jgo remarks on import that there is no XDG_RUNTIME_DIR; nobody uses it.
        warnings.simplefilter("ignore")
        from jgo.maven import MavenContext  # noqa: PLC0415

    with tempfile.TemporaryDirectory(dir=folder) as cache:
        context = MavenContext(repo_cache=Path(cache), local_repos=[], timeout=TIMEOUT_SECONDS)

        def fetch(coordinates: str) -> None:
            group, artifact, version = coordinates.split(":")
            wanted = context.project(group, artifact).at_version(version).artifact()
            for attempt in range(ATTEMPTS):
                try:
                    path = wanted.resolve()
                    break
                except Exception:  # jgo raises whatever its HTTP library does
                    if wanted.cached_path is not None:
                        wanted.cached_path.unlink(missing_ok=True)
                    if attempt == ATTEMPTS - 1:
                        raise
            _verify(path, coordinates)
            shutil.move(path, folder / _file_name(coordinates))

        with ThreadPoolExecutor(FETCHERS) as pool:
            tasks = [pool.submit(fetch, coordinates) for coordinates in missing]
            try:
                for count, task in enumerate(as_completed(tasks), 1):
                    task.result()
                    progress(f"Fetching Kafka's jars: {count} of {len(missing)}")
            except StackError:
                raise
            except Exception as error:
                pool.shutdown(cancel_futures=True)
                raise StackError(
                    "Kafka's jars could not be fetched: check the network, the first run needs "
                    f"it ({type(error).__name__})."
                ) from error
