"""Finds the endpoint for the verb and the path of an HTTP request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

Endpoint = TypeVar("Endpoint")
_PART = re.compile(r"[^{}]*|\{[^{}]+\}")


class NoSuchPathError(Exception):
    """No route has the path."""


class NoSuchVerbError(Exception):
    """Routes have the path, but none of them has the verb."""

    def __init__(self, allowed: set[str]) -> None:
        self.allowed = allowed
        """The verbs that routes with this path have."""


class Router(Generic[Endpoint]):
    """The routes of a process.

    A path is divided at its slashes. Each part of a route is either fixed or a variable, such as
    {user_id}, which stands for any part that is not empty and has no brace.
    """

    def __init__(self) -> None:
        # By the number of parts and by the first of them, which is fixed in every route.
        self._paths: dict[tuple[int, str], list[_Path[Endpoint]]] = {}

    def add(self, verb: str, path: str, endpoint: Endpoint) -> None:
        """Add a route; of several that match, the one whose first variable comes last is found.

        Raises:
            ValueError: the first part is a variable, or a part is a variable and more.
        """
        parts = path.split("/")
        if not all(map(_PART.fullmatch, parts)) or "{" in parts[1]:
            raise ValueError(f"{path} begins with a variable, or has one beside other text")
        paths = self._paths.setdefault((len(parts), parts[1]), [])
        for known in paths:
            if known.parts == parts:
                known.endpoints[verb] = endpoint
                return
        paths.append(_Path(parts, {verb: endpoint}))
        paths.sort(key=_Path.first_variable, reverse=True)

    def find(self, verb: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
        """Return the endpoint for a request, and the values of its path's variables.

        Args:
            verb: the HTTP method.
            path: yarl's path_safe, in which a slash or a percent sign within a part is encoded.

        Raises:
            NoSuchPathError: no route has this path.
            NoSuchVerbError: no route has this path and this verb.
        """
        parts = path.split("/")
        allowed: set[str] = set()
        if len(parts) > 1:
            for known in self._paths.get((len(parts), parts[1]), ()):
                values = known.match(parts)
                if values is None:
                    continue
                if (endpoint := known.endpoints.get(verb)) is not None:
                    return endpoint, values
                allowed.update(known.endpoints)
        if allowed:
            raise NoSuchVerbError(allowed)
        raise NoSuchPathError


class _Path(Generic[Endpoint]):
    """A path of the contract, and its endpoints by verb."""

    def __init__(self, parts: list[str], endpoints: dict[str, Endpoint]) -> None:
        self.parts = parts
        self.endpoints = endpoints
        self.variables = [(at, part[1:-1]) for at, part in enumerate(parts) if part[:1] == "{"]
        # Without the first, by which the router has found this path. The last ones differ most.
        fixed = [(at, part) for at, part in enumerate(parts) if at != 1 and part[:1] != "{"]
        self._fixed = fixed[::-1]

    def first_variable(self) -> int:
        """Return which part is the first variable; the number of parts if there is none."""
        return self.variables[0][0] if self.variables else len(self.parts)

    def match(self, parts: list[str]) -> dict[str, str] | None:
        """Return the values of the variables; None if the path is another."""
        for at, part in self._fixed:
            if parts[at] != part:
                return None
        values = {}
        for at, name in self.variables:
            value = parts[at]
            if not value or "{" in value or "}" in value:
                return None
            if "%" in value:
                value = value.replace("%2F", "/").replace("%25", "%")
            values[name] = value
        return values
