"""Reads the lines of an input of `fanfare load`, whatever form it has.

An input is a file, a pipe, or standard input. It is text in UTF-8, or with a byte order mark in
UTF-8, UTF-16 or UTF-32, and may be compressed with gzip. Its lines end as on Unix, Windows or old
Macs. All of this is recognised by the content, not by the name, and read in one pass.
"""

from __future__ import annotations

import codecs
import gzip
import io
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

STANDARD_INPUT = Path("-")
# Enough of the input to recognise its form.
HEAD_BYTES = 4096
GZIP = b"\x1f\x8b"
# The longer marks first, because the mark of UTF-16 is also the beginning of one of UTF-32.
ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def input_name(path: Path) -> str:
    """Return how messages name the input."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def input_size(path: Path) -> int | None:
    """Return the size of a file in bytes; None for pipes and standard input."""
    if path == STANDARD_INPUT:
        return None
    found = path.stat()
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def read_lines(path: Path, advance: Callable[[int], object]) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line, without its line end.

    A byte that is not UTF-8 becomes a lone surrogate, so that the line can be rejected.

    Args:
        path: the file, or STANDARD_INPUT.
        advance: called now and then with the number of bytes read from a file since the last call.

    Raises:
        OSError: the input cannot be read, is not text, or is a damaged or truncated gzip file.
    """
    with open(0, "rb", closefd=False) if path == STANDARD_INPUT else path.open("rb") as raw:
        seen = number = 0
        try:
            for number, line in enumerate(_text(path, raw), 1):
                yield number, line.rstrip("\n")
                if number % 1000 == 0 and raw.seekable():
                    advance(raw.tell() - seen)
                    seen = raw.tell()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            # Click would take an EOFError for Ctrl-D.
            raise OSError(f"{input_name(path)} is a damaged gzip file: {error}") from error
        except UnicodeDecodeError as error:
            raise OSError(
                f"{input_name(path)} is not {error.encoding} after line {number}: {error.reason}"
            ) from error


def _text(path: Path, raw: IO[bytes]) -> io.TextIOWrapper:
    head = raw.read(HEAD_BYTES)
    source = _Resumed(head, raw)
    if head.startswith(GZIP):
        unzipped = cast("IO[bytes]", gzip.GzipFile(fileobj=io.BufferedReader(source)))
        head = unzipped.read(HEAD_BYTES)
        source = _Resumed(head, unzipped)
    encoding = next((name for mark, name in ENCODINGS.items() if head.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in head:
        raise OSError(
            f"{input_name(path)} is not text in UTF-8 or with a byte order mark, nor gzip; "
            "convert it first, for example with iconv, or decompress it"
        )
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    return io.TextIOWrapper(io.BufferedReader(source), encoding, errors)


class _Resumed(io.RawIOBase):
    """A stream from whose beginning something has been read, read from its beginning.

    A pipe cannot be rewound.
    """

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(part) :]
        buffer[: len(part)] = part
        return len(part)
