"""Access tokens: JWTs signed with Ed25519 (RFC 7519, RFC 8037), and the folder of their keys.

A key is two files, `<kid>.private.pem` for the write service and `<kid>.public.pem` for all who
check tokens; the kid is the key's thumbprint (RFC 7638). A new key signs once it is SETTLE_SECONDS
old, so that everybody has seen it by then; a removed one is refused within RESCAN_SECONDS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
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

LOG = logging.getLogger(__name__)
Key = TypeVar("Key")
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


class _Keys(ABC, Generic[Key]):
    """The keys in a folder's files of one kind, looked at every RESCAN_SECONDS at most."""

    _suffix: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        """Read them from the folder; raises SettingsError when none can be used."""
        self._folder = folder
        self._looked = -RESCAN_SECONDS
        self._seen: list[tuple[object, ...]] = []
        self._keys: dict[str, Key] = {}
        if not self.all():
            raise SettingsError(
                f"FANFARE_AUTH_KEYS is {folder}, where no *{self._suffix} can be used: "
                "make a key by `fanfare keys new`."
            )

    def all(self) -> dict[str, Key]:
        """Return the keys by kid; the same object while nothing has changed."""
        if time.monotonic() - self._looked >= RESCAN_SECONDS:
            self._looked = time.monotonic()
            try:
                # glob() would take a folder that may not be read now for an empty one.
                found = sorted(self._folder.iterdir())
            except FileNotFoundError:
                found = []
            except OSError as error:
                LOG.warning("%s cannot be read now: %s", self._folder, error)
                return self._keys
            paths = [path for path in found if path.name.endswith(self._suffix)]
            # A file that is being written changes once more.
            seen = [(path, *_state(path)) for path in paths]
            if seen != self._seen:
                self._seen = seen
                read = {path.name.removesuffix(self._suffix): self._read(path) for path in paths}
                self._keys = {kid: key for kid, key in read.items() if key is not None}
        return self._keys

    def _read(self, path: Path) -> Key | None:
        try:
            key, public = self._parse(path.read_bytes())
            if f"{thumbprint(public)}{self._suffix}" == path.name:
                return key
            LOG.warning("%s is not used: it is not the key of its name", path)
        except FileNotFoundError:
            LOG.info("%s was removed while the folder was read", path)
        except OSError as error:
            LOG.warning("%s cannot be read now: %s", path, error)
            self._seen = []  # so that the next look tries again
            return self._keys.get(path.name.removesuffix(self._suffix))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            LOG.warning("%s is not used: %s", path, error)
        return None

    @abstractmethod
    def _parse(self, pem: bytes) -> tuple[Key, Ed25519PublicKey]:
        """Return the key and its public half; raises ValueError or TypeError for what is none."""


class PublicKeys(_Keys[Ed25519PublicKey]):
    """The keys by which tokens are checked."""

    _suffix = _PUBLIC

    def _parse(self, pem: bytes) -> tuple[Ed25519PublicKey, Ed25519PublicKey]:
        key = load_pem_public_key(pem)
        if not isinstance(key, Ed25519PublicKey):
            raise TypeError("it is not an Ed25519 key")
        return key, key


class Signer(_Keys[Ed25519PrivateKey]):
    """Signs access tokens with the newest key that has settled."""

    _suffix = _PRIVATE

    def sign(self, caller: Caller) -> tuple[str, int]:
        """Return a token that names the caller, and when it expires, in seconds since 1970."""
        kid = self.kid()
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
        token = jwt.encode(claims, self.all()[kid], algorithm=ALGORITHM, headers={"kid": kid})
        return token, expires

    def kid(self) -> str:
        """Return which key signs now; raises RuntimeError when there is none any more."""
        # Their age by the files, as a key may be removed since the folder was looked at.
        paths = {kid: self._folder / f"{kid}{self._suffix}" for kid in self.all()}
        made = {kid: at for kid, path in paths.items() if (at := _made_at(path)) is not None}
        if not made:
            raise RuntimeError(f"{self._folder} has no *{self._suffix} any more that can be used")
        settled = [kid for kid, at in made.items() if time.time() - at >= SETTLE_SECONDS]
        # Where all are new, as on the first start, nobody has tokens of an older one.
        return max(settled, key=made.__getitem__) if settled else min(made, key=made.__getitem__)

    def _parse(self, pem: bytes) -> tuple[Ed25519PrivateKey, Ed25519PublicKey]:
        key = load_pem_private_key(pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError("it is not an Ed25519 key")
        return key, key.public_key()


def _state(path: Path) -> tuple[int, ...]:
    """Return what changes with a file's content, owner and mode; nothing where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_ctime_ns)


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
