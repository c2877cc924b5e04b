"""Transactions that Redis executes only while keys hold the values that the caller expects.

Redis refuses a transaction if a watched key was written after the WATCH, by whomever, and each
EXEC ends all watches of its connection. So a worker that reads the keys after the WATCH, and finds
what it expects, knows that its transaction takes effect only on exactly these values, however much
later it is sent.

That is why each transaction can be followed, in the same write, by the WATCH and the read for the
next one: a transaction costs one round trip instead of two. The order matters. The WATCH comes
after the EXEC, which would end it, and before the read, since a write between the two would go
unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis import ConnectionPool

from core.storage.redis import BlockingRedisConnection
from core.storage.resp import pack
from fanout_worker.metrics import BYTES

_MULTI = pack(b"MULTI")
_EXEC = pack(b"EXEC")
_UNWATCH = pack(b"UNWATCH")


class TransactionConnection:
    """A connection that executes one transaction at a time, and watches ahead for the next one.

    Every method that sends or receives raises RedisError or OSError when Redis does not answer or
    refuses a command.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        """Take a connection from the pool, and keep it until close()."""
        self._connection = BlockingRedisConnection(pool)
        self._keys: Sequence[bytes] = ()
        # Watches the keys and reads them.
        self._watch = b""
        # None until the reply to the read has been received.
        self._values: Mapping[bytes, bytes | None] | None = None
        # How many commands the transaction under way has.
        self._commands = 0
        self.is_watching = False
        """Whether watch() holds: keys are watched, and nothing has called forget() since."""

    def close(self) -> None:
        """Close the connection; a transaction under way may still take effect."""
        self._connection.close()

    def execute(self, *command: bytes) -> Any:
        """Execute one command and return its reply; nothing is watched any more."""
        self.forget()
        return self._connection.execute(*command)

    def watch(self, keys: Sequence[bytes]) -> None:
        """Watch these keys, and no others, from now on; no transaction may be under way."""
        self.forget()
        if keys != self._keys:
            self._keys = keys
            self._watch = pack(b"WATCH", *keys) + pack(b"MGET", *keys)
        # An earlier watch may have noticed a write that these values already show.
        self._connection.send(_UNWATCH + self._watch, ignored_replies=1)
        self.is_watching = True
        self._values = None

    def forget(self) -> None:
        """Stop relying on the watch, because this process is about to write watched keys."""
        if self.is_watching:
            self.values()
            self.is_watching = False

    def values(self) -> Mapping[bytes, bytes | None]:
        """Return what the watched keys held when the watch began; None for an absent key."""
        if self._values is None:
            _, values = self._connection.read(2)
            self._values = dict(zip(self._keys, values, strict=True))
        return self._values

    def send(self, packed: Iterable[bytes], commands: int) -> None:
        """Send a transaction, which takes effect if the watched keys still hold values().

        The same keys are watched again after it.

        Args:
            packed: The commands in RESP, in pieces.
            commands: How many commands there are.
        """
        transaction = b"".join([_MULTI, *packed, _EXEC, self._watch])
        BYTES.inc(len(transaction))
        self._connection.send(transaction)
        self._commands = commands

    def finish(self) -> list[Any] | None:
        """Wait for the transaction; return the replies to its commands, or None if refused.

        The reply to a command that failed is a hiredis.ReplyError.
        """
        # OK for MULTI, QUEUED for each command, and the replies to EXEC, WATCH and MGET.
        replies = self._connection.read(self._commands + 4)
        self._values = dict(zip(self._keys, replies[-1], strict=True))
        executed: list[Any] | None = replies[-3]
        return executed

    def send_unread(self, packed: bytes, commands: int) -> None:
        """Send commands whose replies nobody needs; no transaction may be under way."""
        self._connection.send(packed, ignored_replies=commands)
