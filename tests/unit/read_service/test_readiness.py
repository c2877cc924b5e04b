"""When the read service is ready."""

from __future__ import annotations

from typing import Any

import pytest

from read_service.readiness import unanswerable


class _Part:
    """A server that is in trouble or not."""

    def __init__(self, trouble: str | None) -> None:
        self._trouble = trouble

    def trouble(self) -> str | None:
        """Return the trouble."""
        return self._trouble


@pytest.mark.parametrize("primary", [None, "no primary"])
@pytest.mark.parametrize("replica", [None, "no replica"])
@pytest.mark.parametrize("redis", [None, "no Redis"])
def test_it_is_ready_while_one_server_can_answer(
    primary: str | None, replica: str | None, redis: str | None
) -> None:
    """Whichever that is: no Redis is no reason, since Postgres serves, and the reverse."""
    parts: Any = [_Part(each) for each in (primary, replica, redis)]
    expected = "no primary, and no Redis" if primary and replica and redis else None
    assert unanswerable(*parts) == expected
