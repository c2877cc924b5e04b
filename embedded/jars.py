"""Kafka's jars, and other files of Maven packages: pinned by their hashes, and verified."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from embedded.causes import is_local, real_path
from embedded.errors import StackError

LIST = "kafka-jars.txt"
DEFAULT_PACKAGING = "jar"
FETCHERS = 6
ATTEMPTS = 4
# The limit for one connection or one read. A cancelled fetch may take this long to end.
TIMEOUT_SECONDS = 10
POLL_SECONDS = 0.1
LAST_OF_16_BITS = 0xFFFF
PROGRESS_SECONDS = 15.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class PinnedFiles:
    """Files of Maven packages, with the hashes that they must have.

    Attributes:
        owner: What needs them, for messages.
        list_name: The file with the pins, for messages.
        hashes: The SHA-256 of each file, by its Maven coordinates: group:artifact:version of a jar,
            group:artifact:packaging:classifier:version of another file.
    """

    owner: str
    list_name: str
    hashes: dict[str, str]


def parse_pins(text: str) -> dict[str, str]:
    """Return the pinned SHA-256 of each file in a list, by its Maven coordinates."""
    return dict(line.split(" ") for line in text.split("\n") if line)


def pinned_hashes() -> dict[str, str]:
    """Return the pinned SHA-256 of each of Kafka's jars, by its Maven coordinates."""
    return parse_pins(resources.files("embedded").joinpath(LIST).read_text())


def kafka_jars(folder: Path, progress: Progress, cancelled: threading.Event) -> list[Path]:
    """Return the paths of Kafka's jars; see pinned_files()."""
    return pinned_files(PinnedFiles("Kafka", LIST, pinned_hashes()), folder, progress, cancelled)


def pinned_files(
    pins: PinnedFiles, folder: Path, progress: Progress, cancelled: threading.Event
) -> list[Path]:
    """Return the paths of the files, after fetching the missing ones and verifying all.

    Args:
        pins: The files.
        folder: where the files are kept.
        progress: called with a line when a fetch begins, and every PROGRESS_SECONDS.
        cancelled: ends the fetch when it is set.

    Raises:
        StackError: Java could not load jars from the folder, a file could not be fetched or differs
            from its pin, or the fetch was cancelled.
        OSError: the folder cannot be written to, for example because its disk is full.
    """
    _refuse_unloadable(pins, real_path(folder))
    folder.mkdir(parents=True, exist_ok=True)
    files = {coordinates: folder / _file_name(coordinates) for coordinates in pins.hashes}
    # Only one process fetches at a time; the others then find the files.
    with locked(folder, cancelled):
        missing = [coordinates for coordinates, path in files.items() if not path.exists()]
        if missing:
            _fetch(pins, missing, folder, progress, cancelled)
    for coordinates, path in files.items():
        if _sha256(path) != pins.hashes[coordinates]:
            raise StackError(
                f"{path} differs from {coordinates} as pinned in {pins.list_name}; delete it to "
                "have it fetched again"
            )
    return list(files.values())


def _refuse_unloadable(pins: PinnedFiles, folder: Path) -> None:
    """Refuse a folder from which Java finds no class: it encodes such characters of it wrongly."""
    beyond = [character for character in str(folder) if ord(character) > LAST_OF_16_BITS]
    if beyond:
        raise StackError(
            f"Java cannot load {pins.owner}'s jars from {folder}, because of the character "
            f"{beyond[0]} in its path; set FANFARE_STATE_DIR to a folder whose path has no emoji "
            "and no other characters beyond U+FFFF"
        )


def _split(coordinates: str) -> tuple[str, str, str, str, str]:
    """Return the group, artifact, packaging, classifier (or "") and version."""
    group, artifact, *kind, version = coordinates.split(":")
    packaging, classifier = kind or (DEFAULT_PACKAGING, "")
    return group, artifact, packaging, classifier, version


def _file_name(coordinates: str) -> str:
    _, artifact, packaging, classifier, version = _split(coordinates)
    return f"{artifact}-{version}{classifier and '-' + classifier}.{packaging}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path, cancelled: threading.Event) -> Iterator[None]:
    """Keep other processes from changing the folder of jars until the block ends.

    Raises:
        StackError: the wait for another process was cancelled.
    """
    with (folder / ".lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if cancelled.wait(POLL_SECONDS):
                    raise StackError("waiting for another fetch of jars was cancelled") from None
        yield


def _fetch(
    pins: PinnedFiles,
    missing: list[str],
    folder: Path,
    progress: Progress,
    cancelled: threading.Event,
) -> None:
    cache = folder / "fetching"
    shutil.rmtree(cache, ignore_errors=True)  # left by a fetch that was killed
    resolve = _resolver(cache)

    def fetch(coordinates: str) -> None:
        for attempt in range(ATTEMPTS):
            if cancelled.is_set():
                raise StackError(f"fetching {pins.owner}'s jars was cancelled")
            try:
                path = resolve(coordinates)
                break
            except Exception:  # jgo passes on what its HTTP library raises
                if attempt == ATTEMPTS - 1:
                    raise
        if _sha256(path) != pins.hashes[coordinates]:
            raise StackError(
                f"the file fetched as {coordinates} differs from its pin in {pins.list_name}; try "
                "again, from a network without a proxy that changes files"
            )
        path.replace(folder / _file_name(coordinates))

    pool = ThreadPoolExecutor(FETCHERS)
    tasks = [pool.submit(fetch, coordinates) for coordinates in missing]
    progress(f"Fetching {len(missing)} jars of {pins.owner} (only the first time) ...")
    try:
        _wait(pins, tasks, progress)
    except StackError:
        raise
    except Exception as error:
        if is_local(error):
            raise  # the network is not to blame
        raise StackError(
            f"cannot fetch {pins.owner}'s jars into {folder}: {type(error).__name__}; check the "
            "network, which the first run needs"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
        shutil.rmtree(cache, ignore_errors=True)


def _wait(pins: PinnedFiles, tasks: list[Future[None]], progress: Progress) -> None:
    """Wait until all jars are fetched; raise the first failure."""
    told = time.monotonic()
    for count, task in enumerate(as_completed(tasks), 1):
        task.result()
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            progress(f"Fetching {pins.owner}'s jars: {count} of {len(tasks)}")


def _resolver(cache: Path) -> Callable[[str], Path]:
    """Return a function that uses jgo to fetch the file of the given coordinates into the cache."""
    try:
        # Imported here, because only the first run needs it and it takes a third of a second.
        with warnings.catch_warnings():
            # A library that jgo uses warns if XDG_RUNTIME_DIR is not set, which does not matter.
            warnings.simplefilter("ignore")
            from jgo.maven import MavenContext  # noqa: PLC0415
    except ImportError as error:
        raise StackError(
            "the package jgo is not installed; run pip install 'fanfare[embedded]'"
        ) from error
    context = MavenContext(repo_cache=cache, local_repos=[], timeout=TIMEOUT_SECONDS)

    def resolve(coordinates: str) -> Path:
        group, artifact, packaging, classifier, version = _split(coordinates)
        component = context.project(group, artifact).at_version(version)
        wanted = component.artifact(classifier, packaging)
        if wanted.cached_path is not None:
            wanted.cached_path.unlink(missing_ok=True)  # an incomplete file of an earlier attempt
        return Path(wanted.resolve())

    return resolve
