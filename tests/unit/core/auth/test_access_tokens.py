"""Access tokens, and keys that are added and removed while they are in use."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import jwt
import pytest
from helpers.authentication import verifier as verifier_of

from core.auth import access_tokens as tokens
from core.auth.access_tokens import Caller, PublicKeys, Signer, Verifier, create_key
from core.errors import UnauthenticatedError
from core.settings import SettingsError


@pytest.fixture(autouse=True)
def _scan_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "RESCAN_SECONDS", 0.0)


def _age(folder: Path, kid: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder / f"{kid}.private.pem", (then, then))


def _kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def test_a_key_is_replaced_while_tokens_are_in_use(tmp_path: Path) -> None:
    """A new key signs once it has settled; tokens of the old key are valid until it is removed."""
    old = create_key(tmp_path)
    signer, verifier = Signer(tmp_path), verifier_of(tmp_path)
    first, _ = signer.sign(Caller(7))
    _age(tmp_path, old, 600)
    new = create_key(tmp_path)
    assert _kid(signer.sign(Caller(7))[0]) == old
    _age(tmp_path, new, tokens.SETTLE_SECONDS + 1)
    second, _ = signer.sign(Caller(8, admin=True))
    assert (_kid(first), _kid(second)) == (old, new)
    assert verifier.caller(first) == Caller(7)
    assert verifier.caller(second) == Caller(8, admin=True)
    for file in tmp_path.glob(f"{old}.*"):
        file.unlink()
    # Although the verifier has seen the token before.
    with pytest.raises(UnauthenticatedError):
        verifier.caller(first)
    assert verifier.caller(second) == Caller(8, admin=True)


def test_a_key_is_removed_while_tokens_are_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removed key signs nothing, even before the signer scans the folder again."""
    old, new = create_key(tmp_path), create_key(tmp_path)
    _age(tmp_path, old, 1200)
    _age(tmp_path, new, 600)
    signer = Signer(tmp_path)
    monkeypatch.setattr(tokens, "RESCAN_SECONDS", 1000.0)
    for file in tmp_path.glob(f"{old}.*"):
        file.unlink()
    assert _kid(signer.sign(Caller(7))[0]) == new


def test_a_key_file_is_used_once_it_is_whole(tmp_path: Path) -> None:
    """A file with half of a key, or with another key, is ignored, and the other keys still work."""
    old, new = create_key(tmp_path), create_key(tmp_path)
    _age(tmp_path, old, 600)
    _age(tmp_path, new, 300)
    files = [tmp_path / f"{new}.{half}.pem" for half in ("private", "public")]
    whole = [file.read_bytes() for file in files]
    for file, content in zip(files, whole, strict=True):
        file.write_bytes(content[:60])
    _age(tmp_path, new, 300)
    signer, keys = Signer(tmp_path), PublicKeys(tmp_path)
    assert (_kid(signer.sign(Caller(7))[0]), set(keys.all())) == (old, {old})
    for file, content in zip(files, whole, strict=True):
        file.write_bytes(content)
    _age(tmp_path, new, 300)
    assert (_kid(signer.sign(Caller(7))[0]), set(keys.all())) == (new, {old, new})
    files[1].write_bytes((tmp_path / f"{old}.public.pem").read_bytes())
    assert set(keys.all()) == {old}


def test_a_read_that_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that could not be read is read at the next scan, although its file has not changed.

    Until then the keys that were read before stay in use.
    """
    first = create_key(tmp_path)
    keys = PublicKeys(tmp_path)
    second = create_key(tmp_path)
    with monkeypatch.context() as failing:
        failing.setattr(Path, "read_bytes", lambda _: (_ for _ in ()).throw(OSError("no room")))
        assert set(keys.all()) == {first}
        failing.setattr(Path, "iterdir", Path.read_bytes)
        assert set(keys.all()) == {first}
    assert set(keys.all()) == {first, second}


def test_without_a_key_nothing_is_signed(tmp_path: Path) -> None:
    """The signer says that it has no key, so that no refresh token is used up in vain."""
    create_key(tmp_path)
    signer = Signer(tmp_path)
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(RuntimeError, match="any more"):
        signer.kid()


def test_a_remembered_token_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that the verifier remembers as valid is refused once it has expired."""
    create_key(tmp_path)
    token, expires = Signer(tmp_path).sign(Caller(service="a"))
    verifier = verifier_of(tmp_path)
    assert verifier.caller(token) == Caller(service="a")
    monkeypatch.setattr(time, "time", lambda: float(expires))
    with pytest.raises(UnauthenticatedError):
        verifier.caller(token)


def test_the_verifier_remembers_a_bounded_number_of_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many callers do not fill the memory of the process."""
    monkeypatch.setattr(tokens, "CACHED_TOKENS", 3)
    create_key(tmp_path)
    signer, verifier = Signer(tmp_path), verifier_of(tmp_path)
    for user_id in range(1, 11):
        assert verifier.caller(signer.sign(Caller(user_id))[0]) == Caller(user_id)
        assert len(verifier._callers) <= 3


def test_only_its_owner_reads_a_private_key(tmp_path: Path) -> None:
    """The mode of a private key does not depend on the umask."""
    kid = create_key(tmp_path)
    assert stat.S_IMODE((tmp_path / f"{kid}.private.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o666, 0o607])
def test_a_private_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """The process does not start, and the error names the file and the cure."""
    kid = create_key(tmp_path)
    private = tmp_path / f"{kid}.private.pem"
    private.chmod(mode)
    with pytest.raises(SettingsError, match=rf"{private.name} has mode {mode:04o}.*chmod 600"):
        Signer(tmp_path)
    assert set(PublicKeys(tmp_path).all()) == {kid}  # which reads no private key


def test_a_key_that_is_exposed_while_it_is_in_use_stays_in_use(tmp_path: Path) -> None:
    """A mistaken chmod does not end all sign-ins, but a new key that others can read is unused."""
    first = create_key(tmp_path)
    signer = Signer(tmp_path)
    second = create_key(tmp_path)
    for kid in (first, second):
        (tmp_path / f"{kid}.private.pem").chmod(0o644)
    assert set(signer.all()) == {first}
    (tmp_path / f"{second}.private.pem").chmod(0o400)
    assert set(signer.all()) == {first, second}


def test_a_token_says_when_and_how_its_user_signed_in(tmp_path: Path) -> None:
    """The caller that a token was signed for is the caller that a verifier finds in it."""
    create_key(tmp_path)
    caller = Caller(7, epoch=2**62, session="a" * 22, signed_in_at=1_700_000_000)
    token, _ = Signer(tmp_path).sign(caller)
    assert verifier_of(tmp_path).caller(token) == caller


def test_a_token_can_end_before_it_expires(tmp_path: Path) -> None:
    """The verifier asks for every call, also about tokens that it remembers."""
    create_key(tmp_path)
    ended: list[Caller] = []
    verifier = Verifier(PublicKeys(tmp_path), lambda caller: caller in ended)
    token, _ = Signer(tmp_path).sign(Caller(7))
    assert verifier.caller(token) == Caller(7)
    ended.append(Caller(7))
    with pytest.raises(UnauthenticatedError):
        verifier.caller(token)


def test_a_folder_without_keys_is_one_sentence(tmp_path: Path) -> None:
    """A process with a folder without keys does not start, and says how to create a key."""
    for build in (Signer, PublicKeys):
        with pytest.raises(SettingsError, match="create a key with `fanfare keys new`"):
            build(tmp_path / "nothing")
