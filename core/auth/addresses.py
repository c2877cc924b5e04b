"""Which address a call comes from, through proxies of which some are trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote

from core.settings import SettingsError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
FORWARDED_KEY = "x-forwarded-for"
MAX_HOPS = 8
# Of 45 characters at most, with a zone or spaces perhaps.
MAX_FORWARDED = MAX_HOPS * 64
_UNKNOWN = "unknown"


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of FANFARE_TRUSTED_PROXIES; raises SettingsError for what is none."""
    if text == "none":
        return ()
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(
            f"FANFARE_TRUSTED_PROXIES is not usable: {error}; write addresses or networks, "
            "separated by commas, such as 10.0.0.0/8, or none."
        ) from None


def peer_address(peer: str) -> str:
    """Return the address in a peer as grpc writes it, such as ipv4:127.0.0.1:50051."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else _UNKNOWN


def client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """Return the last address on the way that is not a trusted proxy's, else the first of all.

    peer: the address that the connection comes from. forwarded: X-Forwarded-For as it arrived,
    believed as far as trusted proxies wrote it, and as far as MAX_HOPS back.
    """
    return _client_address(peer, forwarded[-MAX_FORWARDED:], trusted)


# By texts that are cut: whoever sends them does not choose how much is kept.
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


def owner_of(address: str) -> str:
    """Return what stands for the one who has the address: of IPv6 its network of 64 bits."""
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if ":" in address else address


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
