"""What the documents point to exists: links, headings, and files named in backticks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The changelog and the decision records speak of their own time.
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "reference").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
    ROOT / "docs" / "decisions" / "README.md",
    ROOT / "deploy" / "README.md",
    ROOT / "tests" / "model" / "README.md",
]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
# Of this repository: a folder of the top level, then a path.
FOLDERS = (
    "bench|cli|core|deploy|docs|embedded|examples|fanout_worker|gateway|gen|migrations|ops|protos|read_service"
    "|requirements|tests|write_service"
)
FILE = re.compile(rf"`((?:{FOLDERS})/[\w./-]*)`")


def _headings(page: Path) -> set[str]:
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


def _exists(path: Path) -> bool:
    """Return whether there is a file, or a folder with more in it than what Python left there."""
    files = [path] if path.is_file() else path.rglob("*")
    return any(file.is_file() and "__pycache__" not in file.parts for file in files)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_exist(page: Path) -> None:
    """Every link, anchor and path of a page leads to something."""
    text = page.read_text()
    broken = []
    for target, anchor in LINK.findall(text):
        if "://" in target:
            continue
        path = page.parent / target if target else page
        if not _exists(path):
            broken.append(target)
        elif anchor and anchor not in _headings(path):
            broken.append(f"{target}#{anchor}")
    broken += [path for path in FILE.findall(text) if not _exists(ROOT / path)]
    assert broken == []


def test_every_decision_record_is_in_the_index() -> None:
    """The index of the decision records names each of them once."""
    folder = ROOT / "docs" / "decisions"
    named = [target for target, _ in LINK.findall((folder / "README.md").read_text())]
    records = sorted(path.name for path in folder.glob("0*.md"))
    assert [name for name in named if name.startswith("0")] == records
