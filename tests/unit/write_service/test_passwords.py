"""Password hashes."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest
from argon2 import PasswordHasher, extract_parameters

from core.errors import OverloadedError
from write_service import passwords
from write_service.password_queue import Kind
from write_service.passwords import Passwords


async def test_a_flood_is_refused_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers beyond the queue's limit are refused at once; the others get their hashes."""
    monkeypatch.setattr(passwords, "MAX_WAITING", 1)  # beside the one that is worked on
    hasher = Passwords()
    try:
        answers = await asyncio.gather(
            *(hasher.hash(f"secret {number}", Kind.SIGN_UP) for number in range(5)),
            return_exceptions=True,
        )
        hashed = [answer for answer in answers if isinstance(answer, str)]
        assert [type(answer) for answer in answers[2:]] == [OverloadedError] * 3
        assert [PasswordHasher().verify(h, f"secret {n}") for n, h in enumerate(hashed)] == [
            True
        ] * 2
        assert "secret" not in await hasher.hash("secret", Kind.CHANGE)
    finally:
        hasher.close()


async def test_a_password_is_checked_and_an_old_hash_renewed() -> None:
    """A right password whose hash has outdated parameters gets a new hash."""
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


async def test_a_user_without_a_hash_costs_as_much_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With and without a hash, argon2 runs with the same parameters, so the times are equal."""
    real = PasswordHasher.verify
    costs = []

    def verify(self: PasswordHasher, password_hash: str, password: str) -> bool:
        costs.append(extract_parameters(password_hash))
        return bool(real(self, password_hash, password))

    hasher = Passwords()
    monkeypatch.setattr(PasswordHasher, "verify", verify)
    try:
        for stored in (await hasher.hash("right", Kind.SIGN_UP), None):
            assert await hasher.verify(stored, "wrong") == (False, None)
    finally:
        hasher.close()
    with_hash, without_hash = costs
    assert with_hash == without_hash


COMPOSED, DECOMPOSED = "p\u00e4ssword", "pa\u0308ssword"


async def test_the_form_of_a_password_does_not_matter() -> None:
    """A password signs in however the keyboard composes its characters."""
    hasher = Passwords()
    try:
        for typed in (COMPOSED, DECOMPOSED):
            stored = await hasher.hash(typed, Kind.SIGN_UP)
            for entered in (COMPOSED, DECOMPOSED):
                assert await hasher.verify(stored, entered) == (True, None)
            assert await hasher.verify(stored, "password") == (False, None)
    finally:
        hasher.close()


async def test_a_hash_of_a_password_as_it_was_typed_is_renewed() -> None:
    """Hashes of versions that did not normalise still sign in, and are replaced."""
    hasher = Passwords()
    try:
        old = PasswordHasher(
            time_cost=passwords.PASSES,
            memory_cost=passwords.MEMORY_KIB,
            parallelism=passwords.LANES,
        ).hash(DECOMPOSED)
        is_right, renewed = await hasher.verify(old, DECOMPOSED)
        assert is_right
        assert renewed is not None
        assert await hasher.verify(renewed, COMPOSED) == (True, None)
        assert await hasher.verify(old, COMPOSED) == (False, None)
    finally:
        hasher.close()


@pytest.mark.parametrize("password", ["right", COMPOSED, DECOMPOSED])
async def test_only_what_was_entered_decides_how_often_argon2_runs(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """A wrong password costs as much with a hash as without, and ASCII costs one run."""
    hasher = Passwords()
    stored = await hasher.hash("another", Kind.SIGN_UP)
    real, runs = PasswordHasher.verify, []

    def verify(self: PasswordHasher, password_hash: str, entered: str) -> bool:
        runs.append(entered)
        return bool(real(self, password_hash, entered))

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    try:
        counts = []
        for password_hash in (stored, None):
            runs.clear()
            assert await hasher.verify(password_hash, password) == (False, None)
            counts.append(len(runs))
        forms = len({password, unicodedata.normalize("NFKC", password)})
        assert counts == [forms, forms]
    finally:
        hasher.close()
