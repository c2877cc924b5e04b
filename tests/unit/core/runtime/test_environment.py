"""Variables of other programs do not reach the libraries that we use."""

from __future__ import annotations

import os

import pytest
from psycopg import pq

from core.runtime.environment import ignore_foreign_variables

# Those that libpq reads without having an option of that name, besides its options' own.
OTHERS = ["PGSERVICEFILE", "PGSYSCONFDIR", "PGTZ", "PGDATESTYLE", "PGGEQO", "PGLOCALEDIR"]
VARIABLES = [each.envvar.decode() for each in pq.Conninfo.get_defaults() if each.envvar]


@pytest.mark.parametrize("name", [*VARIABLES, *OTHERS, "SSLKEYLOGFILE", "OTEL_SDK_DISABLED"])
def test_a_variable_of_another_program_is_removed(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Every variable that libpq knows, today or in the next version, is removed and named."""
    monkeypatch.setenv(name, "hostile")
    assert name in ignore_foreign_variables()
    assert name not in os.environ


@pytest.mark.parametrize(
    "name", ["https_proxy", "PATH", "GRPC_VERBOSITY", "FANFARE_PG", "OTEL_RESOURCE_ATTRIBUTES"]
)
def test_other_variables_stay(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Fetching the jars needs a proxy; who sets a variable of grpc means grpc."""
    monkeypatch.setenv(name, "kept")
    assert name not in ignore_foreign_variables()
    assert os.environ[name] == "kept"
