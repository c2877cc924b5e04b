"""The binary format of parameters, against psycopg's own encoding."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.numeric import Int8

from core.storage.round_trips import bigint, bigints, byteas, texts


def _encoded(value: Any) -> bytes:
    (encoded,) = Transformer().dump_sequence([value], [PyFormat.BINARY])
    assert encoded is not None
    return bytes(encoded)


@pytest.mark.parametrize("value", [0, -1, (1 << 63) - 1, -(1 << 63)])
def test_integers(value: int) -> None:
    """A bigint, alone and in an array."""
    assert bigint(value) == _encoded(Int8(value))
    assert bigints([value, 1]) == _encoded([Int8(value), Int8(1)])


def test_texts_and_bytes() -> None:
    """Strings of any length, also empty ones."""
    words = ["", "a", "naïve 🎺" * 100]
    assert texts(words) == _encoded(words)
    chunks = [word.encode() for word in words]
    assert byteas(chunks) == _encoded(chunks)
