"""The clients for Go and Java: their unit tests, and that their generated code is up to date."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from helpers import client_toolchains_go_java as toolchains
from helpers.client_toolchains import ToolchainMissing

from clients.generate import go, java, java_jars
from clients.generate.contract import ROOT
from embedded.errors import StackError
from embedded.jars import parse_pins

# The tests of the Java client run without Maven, by this class of JUnit.
_JUNIT = "org.junit.platform.console.ConsoleLauncher"
_JUNIT_OPTIONS = (
    "--select-package=dev.fanfare.client",
    "--details=summary",
    "--disable-banner",
    "--disable-ansi-colors",
)


Result = TypeVar("Result")


def _or_skip(build: Callable[[], Result]) -> Result:
    try:
        return build()
    except ToolchainMissing as missing:
        pytest.skip(str(missing))


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_go_code_is_that_of_the_protos(tmp_path: Path) -> None:
    """clients/go/gen is what `make gen-clients` writes."""
    _or_skip(lambda: toolchains.run_go("list", "-deps", "tool", folder=go.CLIENT / "tools"))
    go.generate(tmp_path)
    assert _files(tmp_path / "gen") == _files(go.CLIENT / "gen")
    assert (tmp_path / go.SERVICE_CONFIG).read_bytes() == (
        go.CLIENT / go.SERVICE_CONFIG
    ).read_bytes()


def test_the_java_code_is_that_of_the_protos(tmp_path: Path) -> None:
    """clients/java/gen is what `make gen-clients` writes."""
    missing = java.missing()
    if missing is not None:
        pytest.skip(missing)
    try:
        java.generate(tmp_path)
    except StackError as error:
        pytest.skip(str(error))
    assert _files(tmp_path / "gen") == _files(java.CLIENT / "gen")
    assert (tmp_path / java.SERVICE_CONFIG).read_bytes() == (
        java.CLIENT / java.SERVICE_CONFIG
    ).read_bytes()


def test_the_go_client() -> None:
    """The unit tests of clients/go pass, and its code is formatted and passes go vet."""
    _or_skip(lambda: toolchains.run_go("vet", "./fanfare", "./story/...", "./quickstart"))
    toolchains.run_go("test", "./fanfare")
    if shutil.which("gofmt") is not None:
        unformatted = subprocess.run(
            ["gofmt", "-l", "fanfare", "story", "quickstart"],
            cwd=go.CLIENT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert unformatted.stdout == ""


def test_the_java_client() -> None:
    """The unit tests of clients/java pass."""
    class_path = _or_skip(toolchains.java_class_path)
    run = subprocess.run(
        [*toolchains.JAVA, "-cp", class_path, _JUNIT, "execute", *_JUNIT_OPTIONS],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = re.search(r"(\d+) tests successful", run.stdout)
    assert found is not None, run.stdout
    assert int(found[1]) > 0, run.stdout


def test_the_pinned_jars_are_those_of_the_pom() -> None:
    """The versions that pom.xml names are the pinned ones."""
    pom = java.CLIENT.joinpath("pom.xml").read_text()
    named = re.findall(
        r"<groupId>(.+)</groupId>\s+<artifactId>(.+)</artifactId>\s+<version>(.+)</version>", pom
    )
    versions = {f"{group}:{artifact}": version for group, artifact, version in named}
    pinned = {
        coordinates.rpartition(":")[0]: coordinates.rpartition(":")[2]
        for coordinates in parse_pins(java_jars.JARS.read_text())
    }
    for name in ("com.google.protobuf:protobuf-java", "com.google.code.gson:gson"):
        assert pinned[name] == versions[name]
    assert pinned["io.grpc:grpc-stub"] == versions["io.grpc:grpc-bom"]
    runner = "org.junit.platform:junit-platform-console-standalone"
    assert pinned[runner] == versions["org.junit.jupiter:junit-jupiter"]


@pytest.mark.parametrize("language", ["go", "java"])
def test_the_readmes_show_the_quick_start(language: str) -> None:
    """The lines in both READMEs are those of the program that is compiled."""
    folder = ROOT / "clients" / language
    (program,) = folder.glob("quickstart/**/*.*")
    lines = {line.strip() for line in program.read_text().splitlines()}
    for readme in (ROOT / "README.md", folder / "README.md"):
        (shown,) = re.findall(rf"```{language}\n(.+?)```", readme.read_text(), re.DOTALL)
        assert {line.strip() for line in shown.splitlines()} <= lines
