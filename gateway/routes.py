"""The REST routes of a service, from the google.api.http options of the contract."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

_VERBS = {"get", "put", "post", "delete", "patch"}
_VARIABLE = re.compile(r"\{([a-z_0-9]+)\}")
_RPC_PATH = re.compile(r"/[A-Za-z_]\w*(\.\w+)+/\w+", re.ASCII)
_PATH = re.compile(r"(/([A-Za-z_0-9.-]+|\{[a-z_0-9]+\}))+(:[A-Za-z]+)?")


@dataclass(frozen=True)
class Route:
    """A verb and a path that stand for one method."""

    verb: str
    path: str
    method: MethodDescriptor
    has_body: bool

    @property
    def variables(self) -> list[str]:
        """The request fields that are part of the path."""
        return _VARIABLE.findall(self.path)

    @property
    def success(self) -> int:
        """The HTTP status of a successful call.

        A method named Create<Noun> creates exactly one resource and answers 201. A batch is not one
        resource, and a follow may have existed before, so these answer 200.
        """
        if self.verb == "DELETE":
            return HTTPStatus.NO_CONTENT
        if self.verb == "POST" and self.method.name.startswith("Create"):
            return HTTPStatus.CREATED
        return HTTPStatus.OK


def is_rpc_path(path: str) -> bool:
    """Return whether a path could be that of an RPC, which REST has none like."""
    return _RPC_PATH.fullmatch(path) is not None


def rpc_path(method: MethodDescriptor) -> str:
    """Return the path of a method for those who call it as an RPC, over Connect or gRPC-Web."""
    return f"/{method.containing_service.full_name}/{method.name}"


def routes(service: ServiceDescriptor) -> Iterator[Route]:
    """Yield every route of a service, in the order of the contract.

    Raises:
        ValueError: a method has no usable google.api.http option. This is a mistake in the
            contract, so the process must not start.
    """
    for method in service.methods:
        options = method.GetOptions()
        if not options.HasExtension(annotations_pb2.http):
            raise ValueError(f"{method.full_name} has no google.api.http option: add one")
        rule = options.Extensions[annotations_pb2.http]
        for binding in (rule, *rule.additional_bindings):
            verb = binding.WhichOneof("pattern") or ""
            path = getattr(binding, verb) if verb in _VERBS else ""
            if not _PATH.fullmatch(path) or binding.body not in {"", "*"}:
                raise ValueError(
                    f"{method.full_name} has a google.api.http option that is not supported: "
                    'use a plain verb, variables such as {user_id}, and "*" or nothing as body'
                )
            yield Route(verb.upper(), path, method, binding.body == "*")
