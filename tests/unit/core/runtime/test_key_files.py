"""Who may use the file of a private key."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from core.runtime.key_files import ExposedKeyError, refuse_exposed_key


def _is_refused(monkeypatch: pytest.MonkeyPatch, uid: int, mode: int) -> bool:
    found = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, uid, 0, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda _: found)
    try:
        refuse_exposed_key(Path("tls.key"))
    except ExposedKeyError:
        return True
    return False


@pytest.mark.parametrize(("uid", "group_may"), [(0, {0o00, 0o40}), (1000, {0o00})])
def test_only_the_owner_may_use_a_private_key(
    monkeypatch: pytest.MonkeyPatch, uid: int, group_may: set[int]
) -> None:
    """The group may read a file of root, as Kubernetes mounts secrets; nothing else is allowed."""
    for mode in range(0o1000):
        is_allowed = mode & 0o070 in group_may and not mode & 0o007
        assert _is_refused(monkeypatch, uid, mode) != is_allowed, f"{mode:04o}"


def test_the_error_names_the_file_its_mode_and_the_cure(tmp_path: Path) -> None:
    """An operator can mend it without reading the documents."""
    key = tmp_path / "tls.key"
    key.touch()
    key.chmod(0o644)
    with pytest.raises(ExposedKeyError, match=r"tls\.key has mode 0644.*chmod 600"):
        refuse_exposed_key(key)
