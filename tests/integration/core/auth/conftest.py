"""Callers with access tokens, valid and invalid."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from helpers.contract_calls import ADMIN, OWNER, STRANGER, bearer

from core.auth.access_tokens import Caller, Signer, create_key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one key."""
    path = tmp_path_factory.mktemp("keys")
    create_key(path)
    return path


def _unsigned(token: str, **header: object) -> str:
    """Return the token with this header instead of its own, and the same claims and signature."""
    _, claims, signature = token.split(".")
    text = json.dumps(header).encode()
    return f"{base64.urlsafe_b64encode(text).rstrip(b'=').decode()}.{claims}.{signature}"


@pytest.fixture(scope="module")
def broken(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Return metadata that must not authenticate anybody, although it resembles the owner's."""
    private = next(folder.glob("*.private.pem")).read_bytes()
    public = next(folder.glob("*.public.pem")).read_bytes()
    kid = next(folder.glob("*.private.pem")).name.removesuffix(".private.pem")
    token, _ = Signer(folder).sign(Caller(OWNER, admin=True))
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": "fanfare",
        "aud": "fanfare",
        "sub": str(OWNER),
        "jti": "1",
        "iat": now,
        "exp": now + 60,
        "admin": True,
    }
    others = Ed25519PrivateKey.generate()

    def signed(key: Any = private, kid: Any = kid, **changed: Any) -> list[tuple[str, str]]:
        left = {name: value for name, value in (claims | changed).items() if value is not None}
        return bearer(jwt.encode(left, key, algorithm="EdDSA", headers={"kid": kid}))

    hmac_key = jwt.utils.base64url_encode(public).decode()
    cases = {
        "expired": signed(iat=now - 700, exp=now - 100),
        "forged": signed(key=others),
        "wrong kid": signed(kid="another"),
        "kid as a path": signed(kid=f"../{folder.name}/{kid}"),
        "wrong audience": signed(aud="another"),
        "audience among others": signed(aud=["fanfare", "another"]),
        "wrong issuer": signed(iss="another"),
        "from the future": signed(iat=now + 600, exp=now + 700),
        "no subject": signed(sub=None),
        "subject is no user": signed(sub="alice"),
        "alg=none": bearer(_unsigned(token, alg="none", kid=kid).rpartition(".")[0] + "."),
        "alg=none, signed": bearer(_unsigned(token, alg="none", kid=kid)),
        "alg=HS256": bearer(jwt.encode(claims, hmac_key, algorithm="HS256", headers={"kid": kid})),
        "claims changed": bearer(token[:60] + ("A" if token[60] != "A" else "B") + token[61:]),
        "no signature": bearer(token.rpartition(".")[0]),
        "garbage": bearer("a.b.c"),
        "empty": bearer(""),
        "too long": bearer(token + "A" * 4000),
        "two": bearer(token) * 2,
        "another scheme": [("authorization", f"Basic {token}")],
        "no scheme": [("authorization", token)],
        "elsewhere": [("x-authorization", f"Bearer {token}")],
    }
    for name in ("iss", "aud", "exp", "iat", "jti"):
        cases[f"no {name}"] = signed(**{name: None})
    return cases


@pytest.fixture(scope="module")
def known(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the metadata of callers with valid access tokens."""
    sign = Signer(folder).sign
    return {
        "owner": bearer(sign(Caller(OWNER))[0]),
        "stranger": bearer(sign(Caller(STRANGER))[0]),
        "admin": bearer(sign(Caller(ADMIN, admin=True))[0]),
        "service": bearer(sign(Caller(service="a-service"))[0]),
    }
