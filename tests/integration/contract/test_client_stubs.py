"""What is generated for the clients matches the protos, and needs no package of the servers'."""

from __future__ import annotations

import filecmp
import re
from pathlib import Path

from clients.generate import python, typescript

_IMPORT = re.compile(r"^(?:from|import) ([\w.]+)", re.MULTILINE)


def test_the_python_stubs_are_those_of_the_protos(tmp_path: Path) -> None:
    """clients/python has what `make gen` writes, file by file."""
    python.generate(tmp_path)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    committed = [
        path.relative_to(python.CLIENT)
        for path in (*(python.CLIENT / "gen").rglob("*"), python.CLIENT / python.SERVICE_CONFIG)
        if path.is_file() and path.suffix != ".pyc"
    ]
    assert sorted(committed) == written
    _, differing, errors = filecmp.cmpfiles(
        python.CLIENT, tmp_path, [str(path) for path in written], shallow=False
    )
    assert not [*differing, *errors], "run make gen and commit what it writes"


def test_the_python_stubs_import_only_what_the_client_depends_on() -> None:
    """The options for the server are left out, with the files that define them."""
    imported = {
        name
        for path in (python.CLIENT / "gen").rglob("*_pb2*.py")
        for name in _IMPORT.findall(path.read_text())
    }
    foreign = {name for name in imported if not name.startswith(("fanfare.", "google.protobuf"))}
    assert foreign == {"google.rpc", "grpc", "grpc._utilities", "warnings"} or foreign == {
        "google.rpc",
        "grpc",
        "warnings",
    }
