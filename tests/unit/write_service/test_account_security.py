"""What changes of passwords and e-mail addresses need where authentication is on."""

from __future__ import annotations

import json
import time
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from fanfare.write.v1 import write_pb2 as pb

from core.auth.access_tokens import Caller
from core.auth.addresses import ClientAddresses
from core.auth.security_log import SecurityLog
from core.errors import InvalidRequestError, ReauthenticationRequiredError
from write_service.account_security import RECENT_SECONDS, AccountSecurity
from write_service.password_queue import Kind

HASH, RIGHT, WRONG = "a hash", "right password", "wrong password"


class _Account:
    """One user's account, whose password is RIGHT."""

    def __init__(self, seconds_since_sign_in: float | None) -> None:
        signed_in = 0 if seconds_since_sign_in is None else time.time() - seconds_since_sign_in
        caller = Caller(7, signed_in_at=int(signed_in))
        self.context: Any = Mock(caller=caller, address="198.51.100.1", metadata=[])
        self.lines: list[str] = []
        self.ended = AsyncMock()

        async def verify(stored: str | None, password: str, kind: Kind) -> tuple[bool, None]:
            assert kind is Kind.CHANGE
            return stored == HASH and password == RIGHT, None

        passwords: Any = Mock(verify=verify)
        store: Any = Mock(password_hash=AsyncMock(return_value=HASH))
        log = SecurityLog("write", self.lines.append, ClientAddresses(()))
        self.security = AccountSecurity(store, passwords, self.ended, log)

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.lines]


def _change(**fields: str) -> pb.UpdateUserRequest:
    return pb.UpdateUserRequest(user_id=7, **fields)


@pytest.mark.parametrize("change", [{"password": "new password"}, {"email": "a@example.org"}])
@pytest.mark.parametrize(
    ("seconds", "current", "is_allowed"),
    [
        (10, None, True),
        (RECENT_SECONDS + 10, None, False),
        (None, None, False),  # a token of a version that did not say when its user signed in
        (10, RIGHT, True),
        (RECENT_SECONDS + 10, RIGHT, True),
        (None, RIGHT, True),
        (10, WRONG, False),
        (RECENT_SECONDS + 10, WRONG, False),
    ],
)
async def test_credentials_change_only_by_somebody_who_can_sign_in(
    change: dict[str, str], seconds: float | None, current: str | None, is_allowed: bool
) -> None:
    """It takes the current password, or a recent sign-in; a wrong password is never passed over."""
    account = _Account(seconds)
    request = _change(**change)
    if current is not None:
        request.current_password = current
    if is_allowed:
        await account.security.before_update(request, account.context)
        assert account.events() == []
    else:
        with pytest.raises(ReauthenticationRequiredError):
            await account.security.before_update(request, account.context)
        assert account.events() == ["reauthentication_failed"]
        assert not any(secret in line for secret in (RIGHT, WRONG) for line in account.lines)


@pytest.mark.parametrize("change", [{"username": "another"}, {"bio": "hello"}])
async def test_other_fields_need_no_password(change: dict[str, str]) -> None:
    """A session of any age may change them, and its access tokens do not end."""
    account = _Account(None)
    await account.security.before_update(_change(**change), account.context)
    await account.security.after_update(_change(**change), account.context)
    assert account.lines == []
    account.ended.refresh.assert_not_called()


async def test_a_change_is_logged_and_ended_tokens_are_read_at_once() -> None:
    """One line for each of the two fields, without their values."""
    account = _Account(10)
    request = _change(password="new password", email="new@example.org")
    await account.security.after_update(request, account.context)
    assert account.events() == ["password_changed", "email_changed"]
    assert not any("new" in line for line in account.lines)
    account.ended.refresh.assert_awaited_once()


@pytest.mark.parametrize(
    ("password", "is_long_enough"),
    [
        ("1234567", False),
        ("12345678", True),
        ("a\u0308" * 4, False),  # 8 code points, which are 4 in normal form KC
        ("a\u0308" * 8, True),
        ("\u00e4" * 8, True),
    ],
)
def test_a_password_has_at_least_eight_code_points(password: str, is_long_enough: bool) -> None:
    """They are counted in the form that is hashed."""
    if is_long_enough:
        AccountSecurity.check_new_password(password)
    else:
        with pytest.raises(InvalidRequestError) as refused:
            AccountSecurity.check_new_password(password)
        assert refused.value.metadata == {"field": "password"}
        assert password not in str(refused.value)
