"""Password hashes, and floods of them."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import PasswordHasher

from core.errors import OverloadedError
from write_service import passwords
from write_service.passwords import Passwords


async def test_a_flood_is_refused_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those above the limit are told at once, the others get hashes, and then there is room."""
    monkeypatch.setattr(passwords, "MAX_WAITING", 3)
    hasher = Passwords()
    try:
        answers = await asyncio.gather(
            *(hasher.hash(f"secret {number}") for number in range(5)), return_exceptions=True
        )
        hashed = [answer for answer in answers if isinstance(answer, str)]
        assert [type(answer) for answer in answers[3:]] == [OverloadedError] * 2
        assert [PasswordHasher().verify(h, f"secret {n}") for n, h in enumerate(hashed)] == [
            True
        ] * 3
        assert "secret" not in await hasher.hash("secret")
    finally:
        hasher.close()
