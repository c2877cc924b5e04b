"""docker-compose.yml, read with Compose's own parser, and the rules for its services."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2

from core.runtime.metrics_ports import Program
from core.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "docker-compose.yml"
TEXT = FILE.read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = {name for name, service in SERVICES.items() if service["image"] == "fanfare"}
ONE_SHOT = {"migrate"}
SECRETS = re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
REQUIRED = re.compile(r"\$\{(\w+):\?run `make env`, which writes \.env with random values\}")

Check = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Return a function that reads the file with Compose's parser and the given secrets."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed: Compose's own parser was not asked")
    folder = tmp_path_factory.mktemp("composecheck")
    source = ROOT / "deploy" / "composecheck"
    program = folder / "composecheck"
    subprocess.run(["go", "build", "-C", source, "-trimpath", "-o", program, "."], check=True)

    def run(secrets: list[str]) -> subprocess.CompletedProcess[str]:
        environment = folder / "env"
        environment.write_text("".join(f"{name}=value-of-{name}\n" for name in secrets))
        command = [folder / "composecheck", FILE, environment]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def environment(service: dict[str, Any]) -> dict[str, str]:
    """Return the environment of a service in the file."""
    found: dict[str, str] = service.get("environment", {})
    return found


def test_compose_reads_the_file(check: Check) -> None:
    """Compose's own parser accepts the file and fills in every secret."""
    answer = check(SECRETS)
    assert answer.returncode == 0, answer.stderr
    project = json.loads(answer.stdout)
    assert set(project["services"]) == set(SERVICES)
    assert (
        project["services"]["write"]["environment"]["FANFARE_POSTGRES_DSN"]
        == "postgresql://fanfare:value-of-POSTGRES_FANFARE_PASSWORD@postgres:5432/fanfare"
    )


@pytest.mark.parametrize("missing", SECRETS)
def test_a_missing_secret_is_named_with_its_cure(check: Check, missing: str) -> None:
    """Without a secret nothing starts, and the message names it and the command to run."""
    answer = check([name for name in SECRETS if name != missing])
    assert answer.returncode == 1
    assert f"required variable {missing} is missing a value: run `make env`" in answer.stderr


def test_the_example_lists_what_the_file_requires() -> None:
    """.env.example names each required variable, sets none, and the file uses no others."""
    assert set(REQUIRED.findall(TEXT)) == set(SECRETS)
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT)) == set(SECRETS)
    assert not re.search(r"^\w+=.", (ROOT / ".env.example").read_text(), re.MULTILINE)


def test_make_env_draws_every_secret_once(tmp_path: Path) -> None:
    """`make env` writes a distinct random value for each secret, and never replaces one."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / ".env.example", tmp_path)
    script = shutil.copy(ROOT / "deploy" / "make-env.sh", tmp_path / "deploy")
    subprocess.run([script], check=True)
    written = tmp_path / ".env"
    first = written.read_text()
    values = dict(re.findall(r"^(\w+)=([0-9a-f]{48})$", first, re.MULTILINE))
    assert list(values) == SECRETS
    assert len(set(values.values())) == len(SECRETS)
    assert written.stat().st_mode & 0o077 == 0, "others on the machine may not read it"
    again = subprocess.run([script], check=True, capture_output=True, text=True)
    assert "stays as it is" in again.stderr
    assert written.read_text() == first


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_written_in_the_file(name: str) -> None:
    """Each password in the file is a reference to a variable."""
    for variable, value in environment(SERVICES[name]).items():
        if re.search(r"PASSWORD|SECRET|TOKEN|AUTH$", variable):
            assert re.fullmatch(r"\$\{[^}]+\}", value), variable
        elif variable.startswith(PREFIX) and "://" in value:
            # The message within ${…} would break the URL.
            plain = urlsplit(re.sub(r"\$\{(\w+)[^}]*\}", r"_\1_", value))
            assert plain.password in {f"_{secret}_" for secret in SECRETS}, variable


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_tells_its_health(name: str) -> None:
    """Every service has a health check, except the one-shot ones."""
    check = SERVICES[name].get("healthcheck", {})
    assert ("test" in check) == (name not in ONE_SHOT)


@pytest.mark.parametrize("name", SERVICES)
def test_start_waits_for_what_it_needs(name: str) -> None:
    """A service waits until its one-shot dependencies are done and the others are healthy."""
    for dependency, wait in SERVICES[name].get("depends_on", {}).items():
        ended = dependency in ONE_SHOT
        expected = "service_completed_successfully" if ended else "service_healthy"
        assert wait == {"condition": expected}, dependency


def test_ports_are_those_of_the_documentation_on_loopback_only() -> None:
    """Since authentication is off, ports are published only on the loopback address."""
    published = {port: name for name, s in SERVICES.items() for port in s.get("ports", [])}
    assert published == {
        "127.0.0.1:8080:8080": "read",
        "127.0.0.1:8081:8081": "write",
        "127.0.0.1:50051:50051": "write",
        "127.0.0.1:50052:50052": "read",
        "127.0.0.1:5432:5432": "postgres",
        "127.0.0.1:6379:6379": "valkey",
        "127.0.0.1:9093:9093": "kafka",
        "127.0.0.1:8090:8080": "kafka-ui",
        "127.0.0.1:9090:9090": "prometheus",
        "127.0.0.1:3000:3000": "grafana",
    }
    for name in ("write", "read"):
        assert environment(SERVICES[name])["FANFARE_BIND"] == "0.0.0.0"
    assert "INTERNAL://kafka:9092" in environment(SERVICES["kafka"])["KAFKA_ADVERTISED_LISTENERS"]


@pytest.mark.parametrize("name", SERVICES)
def test_containers_get_no_privileges(name: str) -> None:
    """No container may gain privileges; Fanfare's are not root, and write only to /tmp."""
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["ulimits"] == {"core": 0}, "a dump would contain users' data"
    assert service["security_opt"] == ["no-new-privileges:true"]
    if name in OURS:
        assert service["user"] == "10001:10001"
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - the container's own
        assert "volumes" not in service
    else:
        assert re.search(r":v?\d+\.\d+", service["image"]), "pinned to an exact version"


@pytest.mark.parametrize("name", sorted(OURS))
def test_settings_exist(name: str) -> None:
    """Every FANFARE_ variable in the file is a setting; no process starts with an unknown one."""
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    assert set(environment(SERVICES[name])) <= known


def test_health_checks_ask_for_services_of_the_contract() -> None:
    """The health checks use the services' names in the contract and their ports."""
    settings = Settings.model_fields
    for name, port, descriptor in (
        ("write", "write_port", write_pb2.DESCRIPTOR.services_by_name["WriteService"]),
        ("read", "read_port", read_pb2.DESCRIPTOR.services_by_name["ReadService"]),
    ):
        target, service = SERVICES[name]["healthcheck"]["test"][-2:]
        assert target == f"127.0.0.1:{settings[port].default}"
        assert service == descriptor.full_name
    worker = SERVICES["worker"]["healthcheck"]["test"][-1]
    assert worker == f"127.0.0.1:{settings['worker_port'].default}"


def test_prometheus_scrapes_every_process_at_its_port() -> None:
    """The targets are the services of the file, at the ports that their setting gives them."""
    jobs = yaml.safe_load((ROOT / "deploy/observability/prometheus.yml").read_text())
    targets = {job["job_name"]: job["static_configs"] for job in jobs["scrape_configs"]}
    for program in Program:
        name = program.name.lower()
        first = int(environment(SERVICES[name])["FANFARE_METRICS_PORT"])
        assert targets.pop(f"fanfare-{name}") == [{"targets": [f"{name}:{first + program}"]}]
    assert not targets
    assert "/etc/prometheus/rules/*.yaml" in jobs["rule_files"]


def test_grafana_finds_its_dashboards_and_the_metrics() -> None:
    """What is provisioned names the mounted folder, and the service and port of Prometheus."""
    provisioning = ROOT / "deploy/observability/grafana/provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards/fanfare.yaml").read_text())[
        "providers"
    ]
    mounted = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
    source = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())
    assert [each["url"] for each in source["datasources"]] == ["http://prometheus:9090"]


def test_state_is_in_named_volumes() -> None:
    """Each server that stores data has a named volume, which outlives its container."""
    volumes = yaml.safe_load(TEXT)["volumes"]
    for name in ("postgres", "postgres-replica", "valkey", "kafka", "prometheus"):
        assert SERVICES[name]["volumes"][0].partition(":")[0] in volumes


def test_deleted_data_leave_the_servers_as_documented() -> None:
    """The write-ahead log is replaced within four days, and others cannot read Valkey's files."""
    given = " ".join(SERVICES["postgres"]["command"])
    ((gigabytes, minutes),) = re.findall(
        r"wal_keep_size=(\d+)GB -c archive_timeout=(\d+)min", given
    )
    max_wal_gigabytes, segments_per_gigabyte = 1, 64  # the defaults of Postgres
    segments = (int(gigabytes) + max_wal_gigabytes) * segments_per_gigabyte
    assert segments * int(minutes) <= 4 * 24 * 60
    (_, _, script) = SERVICES["valkey"]["command"]
    assert script.startswith("umask 077\nexec valkey-server")


def test_mounted_files_exist() -> None:
    """Every mounted file exists in the repository; Docker would create an empty folder instead."""
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                path = ROOT / volume.partition(":")[0]
                assert path.is_file() or any(path.iterdir()), volume
    assert (ROOT / "deploy/postgres/replica.sh").stat().st_mode & 0o111 == 0o111


def test_the_image_is_given_every_package_of_the_wheel() -> None:
    """.dockerignore admits what the wheel is made of, but not the secrets."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{package}" for package in packages} <= set(rules)
    assert "*" in rules
    assert "!.env" not in rules
