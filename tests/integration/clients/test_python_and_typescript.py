"""The clients for Python and TypeScript: generated code, READMEs, and unit tests in TypeScript.

The unit tests in Python are in tests/unit/clients.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from helpers.client_toolchains import ToolchainMissing, build_typescript

from clients.generate import python, typescript
from clients.generate.contract import ROOT

_IMPORT = re.compile(r"^(?:from|import) ([\w.]+)", re.MULTILINE)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_python_code_is_that_of_the_protos(tmp_path: Path) -> None:
    """clients/python/gen is what `make gen-clients` writes."""
    python.generate(tmp_path)
    assert _files(tmp_path / "gen") == _files(python.CLIENT / "gen")
    config = (python.CLIENT / python.SERVICE_CONFIG).read_bytes()
    assert (tmp_path / python.SERVICE_CONFIG).read_bytes() == config


def test_the_python_code_imports_only_what_the_client_depends_on() -> None:
    """The options for the servers are left out, with the files that define them."""
    imported = {
        name
        for path in (python.CLIENT / "gen").rglob("*_pb2*.py")
        for name in _IMPORT.findall(path.read_text())
    }
    own = ("fanfare.", "google.protobuf")
    foreign = {name for name in imported if not name.startswith(own)}
    assert foreign == {"google.rpc", "grpc", "warnings"}


def test_the_typescript_code_is_that_of_the_protos(tmp_path: Path) -> None:
    """The descriptors in clients/typescript/src/gen are those of the contract.

    This compares what the code is generated from, so it needs no Node.js.
    """
    contract = tmp_path / "contract.binpb"
    own = typescript.write_typescript_contract(contract)
    expected = {
        file.name: file for file in FileDescriptorSet.FromString(contract.read_bytes()).file
    }
    generated = typescript.CLIENT / "src" / "gen"
    sources = {
        str(path.relative_to(generated)).replace("_pb.ts", ".proto"): path.read_text()
        for path in generated.rglob("*_pb.ts")
    }
    assert sorted(sources) == sorted(own)
    for name, source in sources.items():
        (encoded,) = re.findall(r'fileDesc\("([\w+/=]*)"', source)
        found = FileDescriptorProto.FromString(base64.b64decode(encoded + "=="))
        assert found == _embedded(expected[name]), "run make gen-clients and commit what it writes"
    config = generated / typescript.SERVICE_CONFIG
    assert config.read_text() == typescript.service_config()


def _embedded(file: FileDescriptorProto) -> FileDescriptorProto:
    """Return a file as protoc-gen-es embeds it: without what stands elsewhere in the code."""
    embedded = FileDescriptorProto()
    embedded.CopyFrom(file)
    embedded.ClearField("source_code_info")
    embedded.ClearField("dependency")
    messages = list(embedded.message_type)
    while messages:
        message = messages.pop()
        messages += message.nested_type
        for field in message.field:
            field.ClearField("json_name")
    return embedded


def test_the_typescript_client() -> None:
    """It compiles, and its unit tests pass."""
    try:
        build_typescript()
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    ran = subprocess.run(
        ["npm", "test", "--silent"],
        cwd=typescript.CLIENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_clients_have_the_version_of_the_contract() -> None:
    """Which is that of Fanfare."""
    version = _project_version(ROOT)
    assert _project_version(python.CLIENT) == version
    for name in ("package.json", "package-lock.json"):
        assert json.loads((typescript.CLIENT / name).read_text())["version"] == version


def _project_version(folder: Path) -> object:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]


def test_the_readmes_show_the_quick_start() -> None:
    """The lines in both READMEs are those of a program that a test runs."""
    _, program = (python.CLIENT / "quick_start.py").read_text().split('"""\n\n')
    programs = {
        "python": program,
        "typescript": (typescript.CLIENT / "src" / "quick_start.ts").read_text(),
    }
    for language, program in programs.items():
        for page in (ROOT / "README.md", ROOT / "clients" / language / "README.md"):
            assert f"```{language}\n{program}```" in page.read_text(), page
