"""Password hashes, and floods of them."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import PasswordHasher, extract_parameters

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


async def test_a_password_is_checked_and_an_old_hash_renewed() -> None:
    """A right password with parameters of before gives a hash with those of today."""
    hasher = Passwords()
    try:
        old = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("right")
        assert await hasher.verify(old, "wrong") == (False, None)
        assert await hasher.verify(None, "right") == (False, None)
        assert await hasher.verify("not a hash", "right") == (False, None)
        is_right, renewed = await hasher.verify(old, "right")
        assert is_right
        assert renewed is not None
        assert await hasher.verify(renewed, "right") == (True, None)
    finally:
        hasher.close()


async def test_nobodys_password_is_as_much_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """One argon2 of the same parameters, so that the time tells nothing."""
    real = PasswordHasher.verify
    costs = []

    def verify(self: PasswordHasher, password_hash: str, password: str) -> bool:
        costs.append(extract_parameters(password_hash))
        return bool(real(self, password_hash, password))

    hasher = Passwords()
    monkeypatch.setattr(PasswordHasher, "verify", verify)
    try:
        for known in (await hasher.hash("right"), None):
            assert await hasher.verify(known, "wrong") == (False, None)
    finally:
        hasher.close()
    somebodys, nobodys = costs
    assert somebodys == nobodys
