"""`fanfare doctor`: check the installation and what it depends on."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.text import Text

from cli.json_output import json_option, print_json
from cli.texts import one_line
from ops.doctor.examination import examine
from ops.doctor.verdicts import Result, Status
from ops.instance import load_instance_settings

STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare doctor
  fanfare doctor --json | jq -r '.checks[] | select(.status != "ok") | .cure'
"""


@click.command(epilog=EXAMPLES)
@json_option()
def command(*, as_json: bool) -> None:
    """Check the installation, and say what to change.

    Checks settings, packages, limits and ports of this machine, keys and certificates, and the
    settings, versions, clocks and schema of Postgres, Redis and Kafka. It changes nothing, and
    prints a line for each check: ok, warn or fail, the cause, and after a semicolon the cure. A
    check that gets no answer within seconds has failed, and does not stop the others.

    Exits with status 1 if a check fails; a warning is no failure. What it prints has no passwords.
    `fanfare status` shows whether a running system keeps up.
    """
    results = examine(load_instance_settings)
    failed = list(dict.fromkeys(r.check for r in results if r.verdict.status is Status.FAIL))
    if as_json:
        print_json(_json(results))
    else:
        _print(results)
    if failed:
        click.echo(f"Failed: {', '.join(failed)}.", err=True)
        sys.exit(1)


def _json(results: Sequence[Result]) -> dict[str, object]:
    return {
        "ok": all(result.verdict.status is not Status.FAIL for result in results),
        "checks": [
            {
                "check": result.check,
                "status": result.verdict.status,
                "text": result.verdict.text,
                "cure": result.verdict.cure,
            }
            for result in results
        ],
    }


def _print(results: Sequence[Result]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    width = max(len(result.check) for result in results)
    for result in results:
        verdict = result.verdict
        text = f"{verdict.text}; {verdict.cure}" if verdict.cure else verdict.text
        text = one_line(text)  # servers have written a part of it
        status = (f"{verdict.status:4}", STYLES[verdict.status])
        console.print(Text.assemble(status, f"  {result.check:{width}}  {text}"))
