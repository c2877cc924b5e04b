"""Packs commands in RESP, the protocol of Redis.

redis-py needs 10 µs to pack a command, and more for each argument. The fan-out packs an id once and
copies the bytes into every command that needs it.
"""

from __future__ import annotations

from collections.abc import Iterable


def pack(*arguments: bytes) -> bytes:
    """Return a packed command, of which the first argument is the name."""
    return b"*%d\r\n%b" % (len(arguments), pack_arguments(arguments))


def pack_arguments(arguments: Iterable[bytes]) -> bytes:
    """Return packed arguments, without the header of a command."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments])


def pack_lpushx(key: bytes, packed_ids: bytes, count: int) -> bytes:
    """Return a packed LPUSHX, which pushes ids to a list if it exists.

    Args:
        key: the list's key.
        packed_ids: the ids, from pack_arguments().
        count: how many ids there are.
    """
    return b"*%d\r\n$6\r\nLPUSHX\r\n$%d\r\n%b\r\n%b" % (count + 2, len(key), key, packed_ids)
