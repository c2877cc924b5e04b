"""Access tokens, which are JWTs signed with Ed25519 (RFC 7519, RFC 8037), and their keys.

FANFARE_AUTH_KEYS names a folder with two files for each key: `<kid>.private.pem`, with which the
write service signs tokens, and `<kid>.public.pem`, with which every service verifies them. The kid
is the key's thumbprint (RFC 7638).

Keys are replaced without a restart. Processes scan the folder every RESCAN_SECONDS. A new key is
first used for signing when it is SETTLE_SECONDS old, because by then every process has its public
half. Once a key is removed, its tokens are refused within RESCAN_SECONDS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
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
from core.runtime.key_files import ExposedKeyError, refuse_exposed_key
from core.settings import SettingsError

LOG = logging.getLogger(__name__)
Key = TypeVar("Key")
ALGORITHM = "EdDSA"
ISSUER = AUDIENCE = "fanfare"
LIFE_SECONDS = 600
SETTLE_SECONDS = 60.0
RESCAN_SECONDS = 5.0
# For `iat`: a service whose clock is behind the signer's must accept the newest tokens.
LEEWAY_SECONDS = 5
MAX_TOKEN_BYTES = 2048
CACHED_TOKENS = 50_000

_PRIVATE = ".private.pem"
_PUBLIC = ".public.pem"
_SERVICE = "service:"
_CLAIMS = ["iss", "aud", "sub", "exp", "iat", "jti"]


@dataclass(frozen=True)
class Caller:
    """Who makes a call: a user, a service, or an unknown caller."""

    user_id: int | None = None
    """None unless the caller is a user."""
    service: str = ""
    """Empty unless the caller is a service."""
    admin: bool = False
    """Whether the user was an administrator when the access token was signed."""
    epoch: int = 0
    """The user's token epoch when the access token was signed; a later one ends the token."""
    session: str = ""
    """The name of the user's session in access tokens; see RefreshToken.session_name."""
    signed_in_at: int = 0
    """When the session began, in seconds since 1970; 0 if that is not known."""


def public_bytes(key: Ed25519PublicKey) -> str:
    """Return the key's 32 bytes as in a JWK: in base64url without padding."""
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def thumbprint(key: Ed25519PublicKey) -> str:
    """Return the key's JWK thumbprint (RFC 7638), which is its kid."""
    members = json.dumps(
        {"crv": "Ed25519", "kty": "OKP", "x": public_bytes(key)}, separators=(",", ":")
    )
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()


def create_key(folder: Path) -> str:
    """Write a new key into the folder and return its kid; create the folder if necessary."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    kid = thumbprint(public)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Write the public key first: a process that finds the private key may sign with it at once.
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
    # Rename the file when it is complete, so that no process reads half of a key.
    temporary = path.with_suffix(".new")
    temporary.touch(mode=mode)
    temporary.write_bytes(content)
    temporary.rename(path)


class _KeyFolder(ABC, Generic[Key]):
    """The private or the public keys of a folder, scanned at most once in RESCAN_SECONDS."""

    _suffix: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        """Read the keys.

        Raises:
            SettingsError: the folder has no usable key.
        """
        self._folder = folder
        self._scanned_at = -RESCAN_SECONDS
        self._files: list[tuple[object, ...]] = []
        self._keys: dict[str, Key] = {}
        if not self.all():
            raise SettingsError(
                f"FANFARE_AUTH_KEYS names a folder without a usable *{self._suffix}; "
                "create a key with `fanfare keys new`"
            )

    def all(self) -> dict[str, Key]:
        """Return the keys by kid: the same dict object until a key file changes."""
        if time.monotonic() - self._scanned_at >= RESCAN_SECONDS:
            self._scanned_at = time.monotonic()
            try:
                # glob() would return nothing for a folder that cannot be read at the moment.
                found = sorted(self._folder.iterdir())
            except FileNotFoundError:
                found = []
            except OSError as error:
                LOG.warning("cannot read key folder, keeping its keys: error=%r", str(error))
                return self._keys
            paths = [path for path in found if path.name.endswith(self._suffix)]
            # A file that is still being written changes its state again, and is then read again.
            files = [(path, *_state(path)) for path in paths]
            if files != self._files:
                self._files = files
                read = {path.name.removesuffix(self._suffix): self._read(path) for path in paths}
                self._keys = {kid: key for kid, key in read.items() if key is not None}
        return self._keys

    def _read(self, path: Path) -> Key | None:
        """Return the key in a file; None if the file is unusable or gone."""
        try:
            key, public = self._parse(self._content(path))
            if f"{thumbprint(public)}{self._suffix}" == path.name:
                return key
            LOG.warning("ignoring key file whose name is not its thumbprint: path=%s", path)
        except FileNotFoundError:
            LOG.info("key file was removed during a scan: path=%s", path)
        except OSError as error:
            LOG.warning("cannot read key file, keeping its key: error=%r", str(error))
            self._files = []  # so that the next scan reads the file again
            return self._keys.get(path.name.removesuffix(self._suffix))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            LOG.warning("ignoring key file: path=%s reason=%r", path, str(error))
        return None

    def _content(self, path: Path) -> bytes:
        """Return the content of a key file; raises OSError if it must not or cannot be read."""
        return path.read_bytes()

    @abstractmethod
    def _parse(self, pem: bytes) -> tuple[Key, Ed25519PublicKey]:
        """Return the key in the content of a PEM file, and the key's public half.

        Raises:
            ValueError, TypeError, UnsupportedAlgorithm: it is not an Ed25519 key.
        """


class PublicKeys(_KeyFolder[Ed25519PublicKey]):
    """The keys that verify access tokens."""

    _suffix = _PUBLIC

    def _parse(self, pem: bytes) -> tuple[Ed25519PublicKey, Ed25519PublicKey]:
        key = load_pem_public_key(pem)
        if not isinstance(key, Ed25519PublicKey):
            raise TypeError("it is not an Ed25519 key")
        return key, key


class Signer(_KeyFolder[Ed25519PrivateKey]):
    """Signs access tokens with the newest key that is at least SETTLE_SECONDS old."""

    _suffix = _PRIVATE

    def __init__(self, folder: Path) -> None:
        """Read the keys.

        Raises:
            SettingsError: the folder has no usable key, or others may read one of them.
        """
        for path in folder.glob(f"*{_PRIVATE}"):
            try:
                refuse_exposed_key(path)
            except ExposedKeyError as error:
                raise SettingsError(f"cannot use FANFARE_AUTH_KEYS: {error.strerror}") from None
        super().__init__(folder)

    def sign(self, caller: Caller) -> tuple[str, int]:
        """Return an access token for the caller, and its expiry in seconds since 1970."""
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
        if caller.user_id is not None:
            # auth_time and sid are named as in OpenID Connect. A refresh does not change auth_time.
            claims |= {
                "auth_time": caller.signed_in_at,
                "sid": caller.session,
                "epoch": caller.epoch,
            }
        if caller.admin:
            claims["admin"] = True
        token = jwt.encode(claims, self.all()[kid], algorithm=ALGORITHM, headers={"kid": kid})
        return token, expires

    def kid(self) -> str:
        """Return the kid of the key that signs now.

        Raises:
            RuntimeError: every key was removed.
        """
        # Look at the files themselves, because a key may have been removed since the last scan.
        paths = {kid: self._folder / f"{kid}{self._suffix}" for kid in self.all()}
        written = {kid: at for kid, path in paths.items() if (at := _written_at(path)) is not None}
        if not written:
            raise RuntimeError(f"{self._folder} has no usable *{self._suffix} any more")
        settled = [kid for kid, at in written.items() if time.time() - at >= SETTLE_SECONDS]
        if settled:
            return max(settled, key=written.__getitem__)
        # All keys are new, as on the first start. Most processes know the oldest one.
        return min(written, key=written.__getitem__)

    def _content(self, path: Path) -> bytes:
        refuse_exposed_key(path)
        return path.read_bytes()

    def _parse(self, pem: bytes) -> tuple[Ed25519PrivateKey, Ed25519PublicKey]:
        key = load_pem_private_key(pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError("it is not an Ed25519 key")
        return key, key.public_key()


def _state(path: Path) -> tuple[int, ...]:
    """Return values that change with a file's content, owner or mode; () if it is gone."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_ctime_ns)


def _written_at(path: Path) -> float | None:
    """Return when the file was written, in seconds since 1970; None if it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


class Verifier:
    """Verifies access tokens, and remembers the callers of valid tokens."""

    def __init__(self, keys: PublicKeys, is_ended: Callable[[Caller], bool]) -> None:
        """Verify with these keys.

        Args:
            keys: the public keys.
            is_ended: whether the token that names a caller was ended before it expires.
        """
        self._keys = keys
        self._is_ended = is_ended
        self._known = keys.all()
        # Caller and expiry (in seconds since 1970) by the hash of the token. Hashes are the keys so
        # that no token stays in memory after its call.
        self._callers: dict[bytes, tuple[Caller, int]] = {}

    def caller(self, token: str) -> Caller:
        """Return the caller that the token was signed for.

        Raises:
            UnauthenticatedError: the token is not valid, has expired, or was ended.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise UnauthenticatedError
        keys = self._keys.all()
        if keys is not self._known or len(self._callers) >= CACHED_TOKENS:
            self._known = keys
            self._callers.clear()
        digest = hashlib.sha256(token.encode()).digest()
        found = self._callers.get(digest)
        if found is None:
            found = self._callers[digest] = _verify(token, keys)
        caller, expires = found
        if time.time() >= expires:
            del self._callers[digest]
            raise UnauthenticatedError
        if self._is_ended(caller):
            raise UnauthenticatedError
        return caller


def _verify(token: str, keys: dict[str, Ed25519PublicKey]) -> tuple[Caller, int]:
    """Return the token's caller, and its expiry in seconds since 1970."""
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
        caller = Caller(
            int(subject),
            admin=claims.get("admin") is True,
            # Versions before these claims signed tokens without them.
            epoch=int(claims.get("epoch", 0)),
            session=str(claims.get("sid", "")),
            signed_in_at=int(claims.get("auth_time", 0)),
        )
        return caller, int(claims["exp"])
    except (jwt.PyJWTError, ValueError):
        raise UnauthenticatedError from None
