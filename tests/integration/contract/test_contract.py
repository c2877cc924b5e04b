"""The contract's own checks: lint, compatibility, and stubs that match."""

from __future__ import annotations

import filecmp
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fanfare.auth.v1 import access_pb2, auth_pb2
from fanfare.errors.v1 import errors_pb2
from fanfare.events.v1 import events_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.api import annotations_pb2
from helpers.former_release import former_revision

from gateway.routes import routes

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "protos"))
import generate  # noqa: E402
import openapi  # noqa: E402
import reference  # noqa: E402


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the contract as an image, which buf can read."""
    path = tmp_path_factory.mktemp("contract") / "image.binpb"
    generate.build_image(ROOT / "protos", path)
    return path


def _buf(*arguments: str | Path) -> None:
    result = subprocess.run(
        ["buf", *arguments, "--config", ROOT / "buf.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def _git(*arguments: str) -> bytes | None:
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    return result.stdout if result.returncode == 0 else None


def _break_nothing(image: Path, folder: Path, revision: str) -> None:
    """Compare the contract with an earlier one by buf's FILE rules."""
    archive = subprocess.run(
        ["git", "archive", revision, "protos"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    # The program tar is used, because Python's tarfile has safe filters only from 3.11.4 on.
    subprocess.run(["tar", "-xf", "-", "-C", str(folder)], input=archive, check=True)
    against = folder / "base.binpb"
    generate.build_image(folder / "protos", against)
    _buf("breaking", image, "--against", against, "--exclude-imports")


def _base() -> str | None:
    """Return the commit to stay compatible with: where this branch left main, or the one before."""
    head = (_git("rev-parse", "HEAD") or b"").strip()
    for main in ("origin/main", "main"):
        base = _git("merge-base", "HEAD", main)
        if base is not None and base.strip() != head:
            return base.strip().decode()
    dirty = _git("status", "--porcelain", "--", "protos")
    if dirty:
        return "HEAD"
    parent = _git("rev-parse", "--verify", "HEAD~1")
    return parent.strip().decode() if parent else None


def test_the_contract_passes_lint(image: Path) -> None:
    """Names and comments keep to buf's STANDARD and COMMENTS rules."""
    _buf("lint", image, "--path", "fanfare")


def test_the_contract_breaks_no_client(image: Path, tmp_path: Path) -> None:
    """Nothing that clients are built on has changed since main."""
    base = _base()
    if base is None:
        pytest.skip("no earlier commit here to compare the contract with")
    _break_nothing(image, tmp_path, base)


def test_the_contract_breaks_no_client_of_the_last_release(image: Path, tmp_path: Path) -> None:
    """Neither the API nor the events: nothing has changed incompatibly in several steps either.

    FORMER_RELEASE=COMMIT compares with that commit.
    """
    _break_nothing(image, tmp_path, former_revision())


def test_the_stubs_are_those_of_the_protos(tmp_path: Path) -> None:
    """gen/ is what `make gen` writes, file by file."""
    generate.generate(tmp_path / "gen")
    written = sorted(p.relative_to(tmp_path / "gen") for p in (tmp_path / "gen").rglob("*.py*"))
    committed = sorted(
        p.relative_to(ROOT / "gen") for p in (ROOT / "gen").rglob("*.py*") if p.suffix != ".pyc"
    )
    assert committed == written
    _, differing, errors = filecmp.cmpfiles(
        ROOT / "gen", tmp_path / "gen", [str(p) for p in written], shallow=False
    )
    assert not [*differing, *errors], "run make gen and commit what it writes"


def test_the_openapi_document_is_that_of_the_protos() -> None:
    """docs/openapi.yaml is what `make gen` writes, and has every route of the shim."""
    written = openapi.document()
    committed = (ROOT / "docs" / "openapi.yaml").read_text()
    assert committed == written, "run make gen and commit what it writes"
    paths = yaml.safe_load(written)["paths"]
    told = {(verb.upper(), path) for path, verbs in paths.items() for verb in verbs}
    assert told == {
        (route.verb, route.path) for service in openapi.SERVICES for route in routes(service)
    }


def test_the_reference_is_that_of_the_protos() -> None:
    """docs/reference/ is what `make gen` writes, page by page, and names every method."""
    written = reference.pages()
    committed = {path.name: path.read_text() for path in (ROOT / "docs" / "reference").iterdir()}
    assert committed == written, "run make gen and commit what it writes"
    for module in (write_pb2, read_pb2, auth_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                assert f"\n## {method.name}\n" in "".join(written.values())


def test_every_method_has_a_rest_path_of_its_own() -> None:
    """Every RPC can be called by REST, and no two RPCs share verb and path."""
    seen: dict[tuple[str, str], str] = {}
    for module in (write_pb2, read_pb2, auth_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations_pb2.http]
                for binding in [rule, *rule.additional_bindings]:
                    verb = binding.WhichOneof("pattern")
                    assert verb, f"{method.full_name} has no google.api.http"
                    place = (verb, getattr(binding, verb))
                    assert seen.setdefault(place, method.full_name) == method.full_name


@pytest.mark.parametrize(
    "module", [write_pb2, read_pb2, auth_pb2, access_pb2, events_pb2, errors_pb2]
)
def test_other_languages_have_packages_to_generate_into(module: object) -> None:
    """go_package and the Java options are set: adding them later would break clients."""
    options = module.DESCRIPTOR.GetOptions()  # type: ignore[attr-defined]
    assert options.go_package
    assert options.java_package
    assert options.java_multiple_files
