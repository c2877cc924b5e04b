"""The variables of the Makefile: what they switch on, and that nothing else is ignored."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ON, OFF = ("on", "true", "yes", "1"), ("off", "false", "no", "0", "")
# Without the variables by which `make test` would tell this make that it is a part of it.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}
}
SWITCHES = [
    ("up", "AUTH", "--auth"),
    ("up", "METRICS", "--prometheus"),
    ("demo", "AUTH", "--auth"),
    ("bench", "QUICK", "--quick"),
]


def _make(
    *words: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run make without running any recipe, and as if everything was installed."""
    return subprocess.run(
        ["make", "-n", "-o", ".venv/bin/.run", "-o", ".venv/bin/.dev", *words],
        cwd=ROOT,
        env=ENVIRONMENT | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _spellings(word: str) -> set[str]:
    return {word, word.upper(), word.title(), word.swapcase().title().swapcase()}


@pytest.mark.parametrize(("task", "variable", "option"), SWITCHES)
def test_a_switch_knows_its_words_in_any_case(task: str, variable: str, option: str) -> None:
    """On is on and off is off, on the command line and in the environment."""
    for words, is_on in ((ON, True), (OFF, False)):
        for value in {spelling for word in words for spelling in _spellings(word)}:
            for made in (
                _make(task, f"{variable}={value}"),
                _make(task, environment={variable: value}),
            ):
                assert made.returncode == 0, made.stderr
                assert (option in made.stdout) == is_on, value


@pytest.mark.parametrize(("task", "variable", "option"), SWITCHES)
def test_any_other_value_of_a_switch_is_refused(task: str, variable: str, option: str) -> None:
    """A typo cannot leave authentication off."""
    for value in ("onn", "enabled", "2", "-1", "y", "none", "on enabled", "--auth"):
        made = _make(task, f"{variable}={value}")
        assert made.returncode == 2
        assert f"{variable}={value} is neither on nor off" in made.stderr
        assert option not in made.stdout


def test_the_variable_in_small_letters_is_refused() -> None:
    """Make would ignore it."""
    made = _make("up", "auth=on")
    assert made.returncode == 2
    assert "the variable is AUTH, in capitals" in made.stderr


@pytest.mark.parametrize(
    "variable", ["MINUTES=", "MINUTES=0", "MINUTES=1.5", "MINUTES=x", "SEED=x", "SEED=-1"]
)
def test_a_value_that_is_not_a_number_is_refused_before_anything_runs(variable: str) -> None:
    """The shell would take it for zero."""
    made = subprocess.run(
        ["make", "-o", ".venv/bin/.dev", "torture", variable],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert made.returncode == 2
    assert f"{variable} is not a whole number" in made.stderr
    assert not made.stdout
