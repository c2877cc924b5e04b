"""What the DSN says wins; what it leaves out is ours."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from core.storage.postgres import connection_arguments

DSN = "postgresql://user@host/db"


def _merged(dsn: str) -> dict[str, object]:
    arguments = connection_arguments(dsn, "test")
    assert arguments.pop("autocommit") is True
    return dict(conninfo_to_dict(make_conninfo(dsn, **arguments)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("application_name", "mine"),
        ("connect_timeout", "9"),
        ("keepalives_idle", "77"),
        ("tcp_user_timeout", "1234"),
        ("sslmode", "verify-full"),
        ("passfile", "/etc/fanfare/pgpass"),
    ],
)
def test_what_the_dsn_says_wins(name: str, value: str) -> None:
    """Each option of libpq that an operator names in the DSN is used."""
    assert _merged(f"{DSN}?{name}={value}")[name] == value


def test_options_of_the_dsn_come_last() -> None:
    """Postgres takes the last of two values, so the operator's is in effect and ours remain."""
    options = str(_merged(f"{DSN}?options=-c%20statement_timeout%3D7")["options"])
    assert options.endswith("-c statement_timeout=7")
    assert "-c timezone=UTC" in options


def test_the_encoding_is_always_utf8() -> None:
    """Another encoding could not carry every tweet."""
    for dsn in (DSN, f"{DSN}?client_encoding=LATIN1"):
        assert _merged(dsn)["client_encoding"] == "UTF8"
