"""HTTP/2 as bytes, for requests that no client library sends."""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of RFC 9113, section 4.1."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


# The first bytes that a client sends: RFC 9113, section 3.4.
START = PREFACE + frame(SETTINGS, 0, 0, b"")


def _text(text: bytes) -> bytes:
    """Return a string literal without Huffman coding: RFC 7541, section 5.2."""
    size, prefix = len(text), bytearray()
    if size < 127:
        prefix.append(size)
    else:
        prefix.append(127)
        size -= 127
        while size > 127:
            prefix.append(size & 127 | 128)
            size >>= 7
        prefix.append(size)
    return bytes(prefix) + text


def indexed(name: bytes, value: bytes) -> bytes:
    """Return a header that the server keeps in its table: RFC 7541, section 6.2.1."""
    return b"\x40" + _text(name) + _text(value)


def call_headers(path: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """Return the headers of a gRPC call, as literals without indexing: RFC 7541, section 6.2.2."""
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    ]
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)


def opening(path: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """Return the first bytes of a connection, with a gRPC call that sends the empty message.

    Args:
        path: The path of the call.
        more: Further headers.
    """
    block = call_headers(path, *more)
    call = frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, bytes(5))
    return START + call
