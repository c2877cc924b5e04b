"""Access tokens: JWTs signed with Ed25519 (RFC 7519, RFC 8037), and the folder of their keys.

A key is two files, `<kid>.private.pem` for the write service and `<kid>.public.pem` for all who
check tokens; the kid is the key's thumbprint (RFC 7638). A new key signs once it is SETTLE_SECONDS
old, so that everybody has seen it by then; a removed one is refused within RESCAN_SECONDS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from core.errors import UnauthenticatedError
from core.settings import SettingsError

ALGORITHM = "EdDSA"
ISSUER = AUDIENCE = "fanfare"
LIFE_SECONDS = 600
SETTLE_SECONDS = 60.0
RESCAN_SECONDS = 5.0
# A clock that is behind the signer's must not refuse its newest tokens.
LEEWAY_SECONDS = 5
MAX_TOKEN_BYTES = 2048
CACHED_TOKENS = 50_000

_PRIVATE = ".private.pem"
_PUBLIC = ".public.pem"
_SERVICE = "service:"
_CLAIMS = ["iss", "aud", "sub", "exp", "iat", "jti"]


@dataclass(frozen=True)
class Caller:
    """Whom an access token names: a user, or a service."""

    user_id: int | None = None
    """None for a service."""
    service: str = ""
    admin: bool = False


def public_bytes(key: Ed25519PublicKey) -> str:
    """Return the key's 32 bytes in base64url without padding, as JWKs have it."""
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def thumbprint(key: Ed25519PublicKey) -> str:
    """Return the key's name, the JWK thumbprint of RFC 7638."""
    members = json.dumps(
        {"crv": "Ed25519", "kty": "OKP", "x": public_bytes(key)}, separators=(",", ":")
    )
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()


def create_key(folder: Path) -> str:
    """Write a new key into the folder, which is made where it is not there; return its kid."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    kid = thumbprint(public)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The public one first: who finds a private key may sign with it.
    _write(
        folder / f"{kid}{_PUBLIC}",
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        0o644,
    )
    _write(
        folder / f"{kid}{_PRIVATE}",
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        0o600,
    )
    return kid


def _write(path: Path, content: bytes, mode: int) -> None:
    whole = path.with_suffix(".new")
    whole.touch(mode=mode)
    whole.write_bytes(content)
    whole.rename(path)


class _Folder:
    """The files of one kind in the folder of keys, looked at every RESCAN_SECONDS at most."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = folder
        self._suffix = suffix
        self._looked = -RESCAN_SECONDS
        self._files: dict[str, Path] = {}
        if not self.files():
            raise SettingsError(
                f"FANFARE_AUTH_KEYS is {folder}, where no *{suffix} can be read: "
                "make a key by `fanfare keys new`."
            )

    def files(self) -> dict[str, Path]:
        """Return the paths by kid; the same object while nothing has changed."""
        if time.monotonic() - self._looked >= RESCAN_SECONDS:
            self._looked = time.monotonic()
            found = {
                path.name.removesuffix(self._suffix): path
                for path in self._folder.glob(f"*{self._suffix}")
            }
            if found != self._files:
                self._files = found
        return self._files


class PublicKeys:
    """The keys by which tokens are checked."""

    def __init__(self, folder: Path) -> None:
        """Read them from the folder; raises SettingsError when there are none."""
        self._folder = _Folder(folder, _PUBLIC)
        self._files: dict[str, Path] = {}
        self._keys: dict[str, Ed25519PublicKey] = {}

    def all(self) -> dict[str, Ed25519PublicKey]:
        """Return the keys by kid; another object after a change."""
        files = self._folder.files()
        if files is not self._files:
            self._keys = {kid: key for kid, path in files.items() if (key := _public(path))}
            self._files = files
        return self._keys


def _public(path: Path) -> Ed25519PublicKey | None:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError):
        return None  # removed meanwhile, or not a key
    return key if isinstance(key, Ed25519PublicKey) else None


class Signer:
    """Signs access tokens with the newest key that has settled."""

    def __init__(self, folder: Path) -> None:
        """Read the keys from the folder; raises SettingsError when there are none."""
        self._folder = _Folder(folder, _PRIVATE)

    def sign(self, caller: Caller) -> tuple[str, int]:
        """Return a token that names the caller, and when it expires, in seconds since 1970."""
        now = int(time.time())
        expires = now + LIFE_SECONDS
        claims: dict[str, object] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": f"{_SERVICE}{caller.service}" if caller.service else str(caller.user_id),
            "iat": now,
            "exp": expires,
            "jti": str(uuid.uuid4()),
        }
        if caller.admin:
            claims["admin"] = True
        kid, key = self._key()
        return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": kid}), expires

    def _key(self) -> tuple[str, Ed25519PrivateKey]:
        files = self._folder.files()
        made = {kid: at for kid, path in files.items() if (at := _made_at(path)) is not None}
        settled = [kid for kid, at in made.items() if time.time() - at >= SETTLE_SECONDS]
        # Where all are new, as on the first start, nobody has tokens of an older one.
        kid = max(settled, key=made.__getitem__) if settled else min(made, key=made.__getitem__)
        key = load_pem_private_key(files[kid].read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"{kid} is not an Ed25519 key")
        return kid, key


def _made_at(path: Path) -> float | None:
    """Return when the file was written, None where it was removed since the folder was read."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


class Verifier:
    """Checks access tokens, each once: who it names is kept until it expires."""

    def __init__(self, keys: PublicKeys) -> None:
        self._keys = keys
        self._known = keys.all()
        # By the token's hash, so that no token lies in memory longer than its call.
        self._callers: dict[bytes, tuple[Caller, int]] = {}

    def caller(self, token: str) -> Caller:
        """Return whom the token names; raises UnauthenticatedError for one that is not valid."""
        if len(token) > MAX_TOKEN_BYTES:
            raise UnauthenticatedError
        keys = self._keys.all()
        if keys is not self._known or len(self._callers) >= CACHED_TOKENS:
            self._known = keys
            self._callers.clear()
        digest = hashlib.sha256(token.encode()).digest()
        found = self._callers.get(digest)
        if found is None:
            found = self._callers[digest] = _checked(token, keys)
        caller, expires = found
        if time.time() >= expires:
            del self._callers[digest]
            raise UnauthenticatedError
        return caller


def _checked(token: str, keys: dict[str, Ed25519PublicKey]) -> tuple[Caller, int]:
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        if not isinstance(kid, str) or kid not in keys:
            raise UnauthenticatedError
        claims = jwt.decode(
            token,
            keys[kid],
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY_SECONDS,
            options={"require": _CLAIMS, "strict_aud": True},
        )
        subject = claims["sub"]
        if subject.startswith(_SERVICE):
            return Caller(service=subject.removeprefix(_SERVICE)), int(claims["exp"])
        return Caller(int(subject), admin=claims.get("admin") is True), int(claims["exp"])
    except (jwt.PyJWTError, ValueError):
        raise UnauthenticatedError from None
