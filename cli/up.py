"""`fanfare up` and `fanfare demo`: run all of Fanfare on this machine."""

from __future__ import annotations

import dataclasses
import os
import shlex
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import click
from rich.console import Console

from cli.signals import interrupt_on_signals
from core.rpc.tls import AUTHORITY
from core.runtime.metrics_ports import metrics_addresses, metrics_ports
from core.runtime.ports import bind_error
from core.settings import Settings, variable_of
from core.settings_loading import load_settings
from embedded.causes import os_errors_explained, real_path
from embedded.ports import HOST
from embedded.stack import FIXED_PORTS, default_parts_dir
from embedded.supervisor import Supervisor
from gateway.demo_page import page_address
from ops.certificates import client_options
from ops.demo import Demo
from ops.demo_folder import demo_folder
from ops.system import ROOT, ServicePorts, System, fixed_metrics_port

RULES = ROOT / "deploy" / "observability" / "rules"

# The backspaces tell click not to wrap the lines.
UP_EXAMPLES = """\b
Examples:
  fanfare up
  fanfare up --auth
  FANFARE_STATE_DIR=/tmp/other fanfare up --ports auto
"""
DEMO_EXAMPLES = """\b
Examples:
  fanfare demo
  fanfare demo --auth
"""


@click.command(epilog=UP_EXAMPLES)
@click.option(
    "--replica", is_flag=True, help="Run a streaming replica of Postgres too, for queries."
)
@click.option("--auth", is_flag=True, help="Require access tokens and TLS.")
@click.option(
    "--prometheus",
    is_flag=True,
    help="Run the Prometheus that is installed here too, with Fanfare's alerts.",
)
@click.option(
    "--ports",
    type=click.Choice(["fixed", "auto"]),
    default="fixed",
    show_default=True,
    help="Listen on the usual ports and those that are set, or on any free ones.",
)
def up(*, replica: bool, auth: bool, prometheus: bool, ports: str) -> None:
    """Run everything on this machine until Ctrl-C.

    Says where it listens, and keeps data and logs in the state folder. What dies is reported
    and restarted; if it does not stay up, everything is stopped and the exit status is 1.
    """
    settings = load_settings()
    console = Console()
    has_page = settings.demo_page or "demo_page" not in settings.model_fields_set
    system = System(
        settings.state_dir,
        default_parts_dir(),
        given=settings,
        fixed_ports=ports == "fixed",
        environment={variable_of("demo_page"): str(has_page)},
        progress=console.print,
        replica=replica,
        auth=auth,
        prometheus_rules=RULES if prometheus else None,
    )
    interrupt_on_signals()
    try:
        with system:
            places = _places(system.settings, system.prometheus_address, has_page=has_page)
            console.print(places, markup=False, highlight=False, soft_wrap=True)
            try:
                Supervisor(system.servers, _reporter(console)).watch()
            finally:
                console.print("\nStopping ...")
    except KeyboardInterrupt:
        pass


@click.command(epilog=DEMO_EXAMPLES)
@click.option("--auth", is_flag=True, help="Require access tokens and TLS.")
def demo(*, auth: bool) -> None:
    """Show what Fanfare does, step by step.

    Runs on a system of its own with an empty database, which is stopped and removed at the end.
    """
    settings = load_settings()
    console = Console()
    interrupt_on_signals()
    fixed = _fixed_ports_are_free(settings)
    console.print(
        "Starting Postgres, Valkey, Kafka and Fanfare's three processes "
        + ("on the fixed ports ..." if fixed else "on free ports, since a fixed port is taken ..."),
        soft_wrap=True,
    )
    try:
        with (
            os_errors_explained(settings.state_dir),
            # A folder of its own, so that the database is empty even if `make up` has been used.
            demo_folder(real_path(settings.state_dir)) as folder,
            System(
                folder,
                default_parts_dir(),
                given=settings,
                fixed_ports=fixed,
                progress=console.print,
                auth=auth,
            ) as system,
        ):
            Demo(system.settings, console).run()
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    tls_dir = settings.state_dir / "tls" if auth else None
    console.print(_next(settings, tls_dir), markup=False, highlight=False, soft_wrap=True)


def _places(settings: Settings, prometheus_address: str | None, *, has_page: bool) -> str:
    scheme, curl, grpcurl = client_options(settings.tls_dir)
    text = (
        f"\nFanfare is up. Commands: {_rest(scheme, settings, settings.rest_write_port)}gRPC "
        f"{settings.local_address(settings.write_port)}; queries: "
        f"{_rest(scheme, settings, settings.rest_read_port)}gRPC "
        f"{settings.local_address(settings.read_port)}.\n"
        f"Logs and data are in {settings.state_dir}. Ctrl-C stops it."
    )
    if has_page and settings.rest_read_port:
        trust = f" that trusts {settings.tls_dir / AUTHORITY}" if settings.tls_dir else ""
        text += f"\nTo try it, open {page_address(settings)} in a browser{trust}."
    if settings.tls_dir is not None:
        text += f"\nClients need certificates: curl{curl} ..., grpcurl {grpcurl} ..."
    if addresses := metrics_addresses(settings):
        each = [f"{name} {', '.join(found)}" for name, found in addresses.items()]
        text += f"\nMetrics ({scheme}://.../metrics) and probes: {'; '.join(each)}."
    if prometheus_address is not None:
        text += f"\nPrometheus: http://{prometheus_address}, alerts: http://{prometheus_address}/alerts."
    if settings.auth_keys is not None:
        text += "\nPOST /sessions returns access tokens."
    if settings.state_dir != Path(os.path.realpath(Settings.model_fields["state_dir"].default)):
        folder = shlex.quote(str(settings.state_dir))
        text += f"\nBefore other fanfare commands, run: export FANFARE_STATE_DIR={folder}"
    return text


def _rest(scheme: str, settings: Settings, port: int) -> str:
    """Return where REST is served, or "" if the port is 0, which means that REST is off."""
    return f"{scheme}://{settings.local_address(port)} and " if port else ""


def _reporter(console: Console) -> Callable[[str], None]:
    """Return a function that prints a report of one or more lines, after the time of day."""

    def report(lines: str) -> None:
        text = f"{time.strftime('%H:%M:%S')} {lines}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return report


def _next(settings: Settings, tls_dir: Path | None) -> str:
    scheme, curl, grpcurl = client_options(tls_dir)
    post = f"curl{curl} -H 'Content-Type: application/json' "
    post += f"{scheme}://{settings.local_address(settings.rest_write_port)}"
    lines = [
        "",
        "Demo finished; everything has been stopped. To try it yourself:",
        "    make up" if tls_dir is None else "    make up AUTH=on",
        "and in another terminal, for example:",
        f"    {post}/users \\",
        """      -d '{"username": "alice", "email": "alice@example.com", "password": "pass123"}'""",
        f"    curl{curl} {scheme}://{settings.local_address(settings.rest_read_port)}/users",
        f"    grpcurl {grpcurl} {settings.local_address(settings.read_port)} list",
    ]
    if tls_dir is not None:
        lines += [
            f"    {post}/sessions \\",
            """      -d '{"username": "alice", "password": "pass123"}'""",
        ]
    return "\n".join(lines)


def _fixed_ports_are_free(settings: Settings) -> bool:
    ports = [
        *dataclasses.astuple(FIXED_PORTS),
        *(getattr(settings, name) for name in ServicePorts.__dataclass_fields__),
    ]
    if 0 in ports:
        return False  # the demo needs REST, which a port of 0 turns off
    if first := fixed_metrics_port(settings):
        ports += chain.from_iterable(metrics_ports(first, settings.read_processes).values())
    servers = len(FIXED_PORTS.__dataclass_fields__)
    hosts = [HOST] * servers + [settings.bind] * (len(ports) - servers)
    return all(bind_error(*place) is None for place in zip(hosts, ports, strict=True))
