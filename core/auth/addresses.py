"""The address of a client that may call through proxies."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote

from core.auth.call_context import Context
from core.settings import SettingsError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
FORWARDED_KEY = "x-forwarded-for"
MAX_HOPS = 8
# An address has at most 45 characters; the rest leaves room for a zone, a port and spaces.
MAX_FORWARDED = MAX_HOPS * 64
REMEMBERED_CLIENTS = 10_000
_UNKNOWN = "unknown"
_MAPPED_BITS = 96
# An IPv6 address in brackets, or an IPv4 address; either may be followed by a port.
_WITH_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\]]*)?)\]|([0-9.]+))(?::[0-9]{1,5})?")


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks that FANFARE_TRUSTED_PROXIES lists.

    Raises:
        SettingsError: an entry is neither an address nor a network.
    """
    if text == "none":
        return ()
    try:
        return tuple(_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise SettingsError(
            "FANFARE_TRUSTED_PROXIES is not usable; write addresses or networks, separated by "
            "commas, such as 127.0.0.1,10.0.0.0/8, or write none"
        ) from None


@lru_cache(maxsize=REMEMBERED_CLIENTS)
def peer_address(peer: str) -> str:
    """Return the IP address in gRPC's name of a peer, such as ipv4:127.0.0.1:50051."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else _UNKNOWN


def client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """Return the address of the client, seen through the trusted proxies.

    A call passes the addresses in `forwarded`, then `peer`. The client is the last of them that is
    not a trusted proxy, or the first if all of them are trusted proxies. An IPv4 address is
    returned as such, even if it was written as an IPv6 address (::ffff:192.0.2.1).

    Args:
        peer: the address at the other end of the connection.
        forwarded: the X-Forwarded-For header. Its entries are addresses, with or without a port:
            192.0.2.1:1234, [2001:db8::1]:1234. An entry is believed only if a trusted proxy wrote
            it. If that entry is not an address, the client is the proxy. Only the last MAX_HOPS
            entries are read.
        trusted: the networks of trusted proxies.
    """
    hops = forwarded[-MAX_FORWARDED:].rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    written = [part.strip() for part in hops if part.strip()]
    address = _address(peer)
    while address is not None and written and any(address in network for network in trusted):
        before = _address(written.pop())
        if before is None:
            break
        address = before
    return _UNKNOWN if address is None else str(address)


def network_of(address: str) -> str:
    """Return the network that one client usually has: an IPv4 address, or the /64 of an IPv6 one.

    Calls are counted by it, since a client with one IPv6 address can use every other of the /64.
    """
    found = _address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address if found is None else str(found)


class ClientAddresses:
    """Tells where calls come from, seen through the trusted proxies."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        """Take the networks of trusted proxies, whose X-Forwarded-For is believed."""
        self._trusted = tuple(trusted)
        self._remembered_network = lru_cache(maxsize=REMEMBERED_CLIENTS)(self._network)

    def address(self, context: Context) -> str:
        """Return the address of the client that makes a call, or "unknown"."""
        return client_address(context.address, self._forwarded(context), self._trusted)

    def network(self, context: Context) -> str:
        """Return the network_of() the client; the latest answers are remembered."""
        return self._remembered_network(context.address, self._forwarded(context))

    def _network(self, peer: str, forwarded: str) -> str:
        return network_of(client_address(peer, forwarded, self._trusted))

    def _forwarded(self, context: Context) -> str:
        """Return what is read of X-Forwarded-For, so that no more of it is remembered."""
        if not self._trusted:
            return ""
        values = [str(value) for key, value in context.metadata if key == FORWARDED_KEY]
        return ",".join(values)[-MAX_FORWARDED:]


def _network(text: str) -> Network:
    network = ipaddress.ip_network(text)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return ipaddress.ip_network((mapped, network.prefixlen - _MAPPED_BITS))


def _address(text: str) -> Address | None:
    if found := _WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
