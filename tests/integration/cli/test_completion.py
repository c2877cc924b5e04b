"""Completion in a real bash."""

from __future__ import annotations

import subprocess


def test_bash_completes_a_command() -> None:
    """After the line that docs/command-line.md puts into ~/.bashrc."""
    script = (
        'eval "$(fanfare completion bash)"; complete -p fanfare; '
        "COMP_WORDS=(fanfare status --w); COMP_CWORD=2; _fanfare_completion fanfare; "
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    first, offered = done.stdout.splitlines()
    assert first.endswith("-F _fanfare_completion fanfare"), done.stderr
    assert offered == "--watch"
