"""Reserved usernames."""

from __future__ import annotations

import pytest

from core.errors import UsernameTakenError
from write_service.usernames import RESERVED, refuse_reserved


@pytest.mark.parametrize(
    "name", [*sorted(RESERVED), "ADMIN", "_admin_", "Ad_Min", "fan_fare", "Root_"]
)
def test_a_reserved_name_is_taken(name: str) -> None:
    """Case and underscores make no difference, and the error is that of any taken name."""
    with pytest.raises(UsernameTakenError):
        refuse_reserved(name)


@pytest.mark.parametrize(
    "name", ["alice", "bob", "john_doe", "john_updated", "u17", "user_1_ab", "admiral", "rooted"]
)
def test_the_names_of_examples_and_imports_are_free(name: str) -> None:
    """Names that only resemble a reserved one, or that the documents use, are not reserved."""
    refuse_reserved(name)


def test_reserved_names_are_written_as_they_are_compared() -> None:
    """An entry with a capital letter or an underscore would never match."""
    assert {name for name in RESERVED if name.lower().replace("_", "") != name} == set()
