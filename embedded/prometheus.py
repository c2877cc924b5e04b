"""Prometheus, from the binary that is installed on this machine.

It scrapes Fanfare's processes and evaluates alerts. Nobody is notified of them; its page /alerts
shows them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from core.rpc.tls import AUTHORITY, open_url
from embedded.errors import StackError
from embedded.ports import HOST
from embedded.server import ServerProcess, make_private_folder

# Not 9090: where Debian's package is installed, its own service listens there.
FIXED_PORT = 9095
SCRAPE_SECONDS = 5.0
RETENTION = "15d"
CALL_SECONDS = 5.0


def prepare_prometheus(
    folder: Path,
    port: int,
    targets: Mapping[str, Sequence[str]],
    rules: Path,
    tls_dir: Path | None = None,
) -> ServerProcess:
    """Return a Prometheus, not started, with its data, configuration and log in the folder.

    Args:
        folder: its folder; it is created.
        port: where it serves its pages and its API.
        targets: host:port of the processes to scrape, by the names of their programs. The job of
            each program is named like deploy/observability/prometheus.yml does.
        rules: the folder of its rule files.
        tls_dir: the folder of the authority's certificate; None where TLS is off.

    Raises:
        StackError: Prometheus is not installed.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        raise StackError(
            "Prometheus is not installed; install it (Debian: `apt-get install prometheus`), or "
            "start without METRICS=on"
        )
    make_private_folder(folder)
    data = folder / "data"
    configuration = folder / "prometheus.json"
    # JSON is YAML, too.
    configuration.write_text(json.dumps(_configuration(targets, rules, tls_dir), indent=2))
    command = [
        binary,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={data}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    ]
    is_ready = _readiness_check(port, data)
    return ServerProcess("Prometheus", command, folder / "prometheus.log", is_ready, ports=[port])


def _configuration(
    targets: Mapping[str, Sequence[str]], rules: Path, tls_dir: Path | None
) -> dict[str, object]:
    interval = f"{SCRAPE_SECONDS * 1000:.0f}ms"
    transport: dict[str, object] = {"scheme": "http"}
    if tls_dir is not None:
        transport = {"scheme": "https", "tls_config": {"ca_file": str(tls_dir / AUTHORITY)}}
    return {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        },
        "rule_files": [str(rules / "*.yaml")],
        "scrape_configs": [
            {
                "job_name": f"fanfare-{program}",
                **transport,
                "static_configs": [{"targets": list(addresses)}],
            }
            for program, addresses in targets.items()
        ],
    }


def _readiness_check(port: int, data: Path) -> Callable[[], bool]:
    def is_ready() -> bool:
        url = f"http://{HOST}:{port}"
        try:
            with open_url(f"{url}/-/ready", None, CALL_SECONDS):
                pass
            # The folder shows that it is this server.
            with open_url(f"{url}/api/v1/status/flags", None, CALL_SECONDS) as answer:
                flags: dict[str, str] = json.load(answer)["data"]
        except OSError:
            return False  # not listening yet, or loading its data
        return flags["storage.tsdb.path"] == str(data)

    return is_ready
