"""Redis's protocol, packed by hand.

redis-py takes 10 µs for a command and more for each argument; here an id costs a share of a copy.
"""

from __future__ import annotations

from collections.abc import Iterable


def pack(*arguments: bytes) -> bytes:
    """Return a command."""
    return b"*%d\r\n%b" % (len(arguments), pack_arguments(arguments))


def pack_arguments(arguments: Iterable[bytes]) -> bytes:
    """Return arguments, to be a part of a command."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments])


def pack_push(key: bytes, ids: bytes, count: int) -> bytes:
    """Return the command that pushes so many ids, which are packed, to a list that exists."""
    return b"*%d\r\n$6\r\nLPUSHX\r\n$%d\r\n%b\r\n%b" % (count + 2, len(key), key, ids)
