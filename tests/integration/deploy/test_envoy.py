"""deploy/envoy.yaml and the descriptor set that it needs, without running Envoy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from fanfare.auth.v1 import auth_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.descriptor_pool import DescriptorPool

from core.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "protos"))

from descriptor_set import descriptor_set  # noqa: E402 - found by the line above

RESOURCES: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "envoy.yaml").read_text())[
    "static_resources"
]
SERVICES = {
    "fanfare.read.v1.ReadService": ("read", "read_port"),
    "fanfare.write.v1.WriteService": ("write", "write_port"),
    "fanfare.auth.v1.AuthService": ("write", "write_port"),
}


def _http() -> dict[str, Any]:
    (listener,) = RESOURCES["listeners"]
    config: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return config


def test_every_service_is_transcoded_and_routed_to_its_port() -> None:
    """The file names the services of the contract, and the default ports of their processes."""
    modules = (auth_pb2, read_pb2, write_pb2)
    assert set(SERVICES) == {
        service.full_name
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    transcoder = _http()["http_filters"][0]["typed_config"]
    assert set(transcoder["services"]) == set(SERVICES)
    (host,) = _http()["route_config"]["virtual_hosts"]
    stream, *services = host["routes"]
    routed = {each["match"]["prefix"]: each["route"]["cluster"] for each in services}
    assert routed == {f"/{name}/": cluster for name, (cluster, _) in SERVICES.items()}
    assert stream == {
        "match": {"path": "/fanfare.read.v1.ReadService/WatchHomeTimeline"},
        "route": {"cluster": "read", "timeout": "0s"},
    }
    ports = {
        cluster["name"]: cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"][
            "address"
        ]["socket_address"]["port_value"]
        for cluster in RESOURCES["clusters"]
    }
    assert ports == {
        cluster: Settings.model_fields[setting].default for cluster, setting in SERVICES.values()
    }


def test_the_descriptor_set_is_complete() -> None:
    """The set can be read alone, and has the routes of all methods and the details of errors."""
    pool = DescriptorPool()
    for file in descriptor_set().file:
        pool.Add(file)
    for name in SERVICES:
        for method in pool.FindServiceByName(name).methods:
            options = MethodOptions.FromString(method.GetOptions().SerializeToString())
            assert options.HasExtension(annotations_pb2.http), method.full_name
    for name in ("ErrorInfo", "BadRequest", "RetryInfo"):
        pool.FindMessageTypeByName(f"google.rpc.{name}")
