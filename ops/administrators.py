"""Makes users administrators."""

from __future__ import annotations

from core.settings import Settings
from ops.database import SQL, connect
from ops.errors import OpsError
from ops.failures import failures_as_ops_errors


@failures_as_ops_errors()
def set_administrator(settings: Settings, username: str, *, is_administrator: bool) -> None:
    """Make a user an administrator, or no longer one.

    Raises:
        OpsError: there is no such user, or Postgres does not answer.
    """
    parameters = {"username": username, "admin": is_administrator}
    with connect(settings.session_dsn()) as connection:
        cursor = connection.execute(SQL["set_administrator"], parameters)
    if not cursor.rowcount:
        raise OpsError(f"there is no user {username}; check the spelling of the username")
