"""The address of a client that may call through proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote

from core.auth.call_context import Context
from core.settings import SettingsError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
FORWARDED_KEY = "x-forwarded-for"
MAX_HOPS = 8
# An address has at most 45 characters; the rest leaves room for a zone and for spaces.
MAX_FORWARDED = MAX_HOPS * 64
_UNKNOWN = "unknown"


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks that FANFARE_TRUSTED_PROXIES lists.

    Raises:
        SettingsError: an entry is neither an address nor a network.
    """
    if text == "none":
        return ()
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise SettingsError(
            "FANFARE_TRUSTED_PROXIES is not usable; write addresses or networks, separated by "
            "commas, such as 127.0.0.1,10.0.0.0/8, or write none"
        ) from None


def peer_address(peer: str) -> str:
    """Return the IP address in gRPC's name of a peer, such as ipv4:127.0.0.1:50051."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else _UNKNOWN


def client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """Return the address of the client, seen through the trusted proxies.

    A call passes the addresses in `forwarded`, then `peer`. The client is the last of them that is
    not a trusted proxy, or the first if all of them are trusted proxies.

    Args:
        peer: the address at the other end of the connection.
        forwarded: the X-Forwarded-For header. An entry is believed only if a trusted proxy wrote
            it, and only the last MAX_HOPS entries are read.
        trusted: the networks of trusted proxies.
    """
    return _client_address(peer, forwarded[-MAX_FORWARDED:], trusted)


# The caller shortens the header, which is part of the cache's key: a client could otherwise fill
# the memory with long headers.
@lru_cache(maxsize=10_000)
def _client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    hops = [part.strip() for part in forwarded.rsplit(",", MAX_HOPS)[-MAX_HOPS:] if part.strip()]
    address = _address(peer)
    while address is not None and hops and any(address in network for network in trusted):
        before = _address(hops.pop())
        if before is None:
            break
        address = before
    return _UNKNOWN if address is None else str(address)


def address_of(context: Context, trusted: Sequence[Network]) -> str:
    """Return the address of the client that makes a call, or "unknown"."""
    forwarded = ",".join(str(value) for key, value in context.metadata if key == FORWARDED_KEY)
    return client_address(context.address, forwarded, trusted)


def owner_of(address: str) -> str:
    """Return what calls are counted by: an IPv4 address, or the /64 network of an IPv6 address.

    A client with one IPv6 address can usually use every address of its /64 network.
    """
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if ":" in address else address


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
