"""The forms that an input of `fanfare load` may have."""

from __future__ import annotations

import codecs
import gzip
import os
import random
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.input_files import input_size, read_lines

LINES = st.lists(
    st.text(st.characters(exclude_characters="\0\r\n\ufeff", exclude_categories=["Cs"]))
)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be", "utf-32-be"])


def _encode(text: str, encoding: str) -> bytes:
    marks = {"utf-16-be": codecs.BOM_UTF16_BE, "utf-32-be": codecs.BOM_UTF32_BE}
    return marks.get(encoding, b"") + text.encode(encoding)


def _read(content: bytes, suffix: str = "") -> list[str]:
    # Not tmp_path, because all of Hypothesis's examples would share that folder.
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(content)
        file.flush()
        numbered = list(read_lines(Path(file.name), lambda _: None))
    assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1))
    return [line for _, line in numbered]


@given(
    LINES,
    ENCODINGS,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from(["", ".gz"]),
)
def test_every_form_gives_the_same_lines(
    lines: list[str], encoding: str, end: str, is_gzipped: bool, suffix: str
) -> None:
    """Encoding, line ends and compression are recognised, whatever the name of the file."""
    content = _encode("".join(line + end for line in lines), encoding)
    assert _read(gzip.compress(content) if is_gzipped else content, suffix) == lines


@given(LINES, st.booleans(), st.integers(1, 5000))
def test_a_pipe_is_read_like_a_file(lines: list[str], is_gzipped: bool, step: int) -> None:
    """However small the pieces in which it comes."""
    content = "".join(f"{line}\n" for line in lines).encode()
    content = gzip.compress(content) if is_gzipped else content
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb", buffering=0) as pipe:
            pipe.writelines(content[start : start + step] for start in range(0, len(content), step))

    thread = threading.Thread(target=write)
    thread.start()
    path = Path(f"/dev/fd/{reader}")
    try:
        assert input_size(path) is None
        assert [line for _, line in read_lines(path, lambda _: None)] == lines
    finally:
        thread.join()
        os.close(reader)


@given(st.binary(max_size=300))
def test_no_content_surprises_the_reader(content: bytes) -> None:
    """Any bytes are read as lines, or refused with an OSError."""
    for mark in (b"", b"\x1f\x8b", codecs.BOM_UTF16_LE, codecs.BOM_UTF32_LE):
        try:
            _read(mark + content)
        except OSError as error:
            assert str(error)  # noqa: PT017 - an error is allowed here, not required


@pytest.mark.parametrize("content", ["1 2\n".encode("utf-16-le"), b"PK\x03\x04\0\0", b"1 2\n\0"])
def test_what_is_not_text_is_refused_whole(content: bytes) -> None:
    """Otherwise every line would be rejected, or a few with a wrong reason."""
    with pytest.raises(OSError, match=r"is not text in UTF-8 .*; convert it first"):
        _read(content)


def test_a_damaged_encoding_is_refused_with_its_line() -> None:
    """In UTF-16 what follows the damage cannot be told apart from it."""
    with pytest.raises(OSError, match=r"is not utf-16-le after line 1: "):
        _read("1 2\n".encode("utf-16") + b"\xd8")


@pytest.mark.parametrize("harm", ["cut", "flipped"])
def test_a_broken_gzip_is_an_error_of_the_file_and_names_it(harm: str, tmp_path: Path) -> None:
    """A truncated or corrupt file raises an OSError with its name, as a missing file does."""
    whole = bytearray(gzip.compress(random.Random(1).randbytes(100_000).hex().encode()))
    if harm == "cut":
        del whole[50_000:]
    else:
        whole[50_000:50_010] = bytes(10)
    path = tmp_path / "broken"
    path.write_bytes(whole)
    with pytest.raises(OSError, match="broken is a damaged gzip file"):
        list(read_lines(path, lambda _: None))
