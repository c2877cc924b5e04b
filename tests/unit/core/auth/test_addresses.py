"""The address of a client, directly and through proxies."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.auth.addresses import (
    FORWARDED_KEY,
    MAX_HOPS,
    ClientAddresses,
    client_address,
    network_of,
    parse_networks,
    peer_address,
)
from core.auth.call_context import UNKNOWN_CALLER
from core.settings import SettingsError


class _Call:
    """A call of an unknown user."""

    caller = UNKNOWN_CALLER
    certificate_names = ()

    def __init__(self, address: str, metadata: list[tuple[str, str]]) -> None:
        self.address = address
        self.metadata = metadata


TRUSTED = parse_networks("127.0.0.0/8, ::1, 10.0.0.0/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        # A header of a client that is not a trusted proxy is ignored.
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("127.0.0.1", "10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7:", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7:port", "127.0.0.1"),
        ("127.0.0.1", "[198.51.100.7", "127.0.0.1"),
        ("127.0.0.1", "[]:1", "127.0.0.1"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7, nonsense", "127.0.0.1"),
        ("127.0.0.1", ", ,", "127.0.0.1"),
        ("::ffff:127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        ("", "198.51.100.7", "unknown"),
        # Only the last MAX_HOPS entries are read, however many a client sends.
        ("127.0.0.1", "198.51.100.7" + ",10.0.0.1" * 7, "198.51.100.7"),
        ("127.0.0.1", "198.51.100.7" + ",10.0.0.1" * 8, "10.0.0.1"),
        ("127.0.0.1", "9" * 100_000 + ", 198.51.100.7", "198.51.100.7"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str, forwarded: str, address: str) -> None:
    """The client is the last hop that is not a trusted proxy."""
    assert client_address(peer, forwarded, TRUSTED) == address


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:50051", "127.0.0.1"),
        ("ipv6:%5B::1%5D:50051", "::1"),
        ("ipv6:[2001:db8::1]:50051", "2001:db8::1"),
        ("unix:", "unknown"),
        ("", "unknown"),
    ],
)
def test_peers_as_grpc_writes_them(peer: str, address: str) -> None:
    """IPv6 addresses are read with their brackets, whether these are escaped or not."""
    assert peer_address(peer) == address


def test_calls_from_one_ipv6_network_are_counted_together() -> None:
    """A caller cannot escape a rate limit by using other addresses of their own network."""
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("unknown") == "unknown"


ADDRESSES = st.ip_addresses().filter(
    lambda address: (
        not any(address in network for network in TRUSTED)
        and getattr(address, "ipv4_mapped", None) is None
    )
)
PROXIES = st.ip_addresses(network="10.0.0.0/8")
PEERS = st.one_of(PROXIES, st.just(ipaddress.ip_address("::1")))


def _written(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> st.SearchStrategy[str]:
    """Return the ways in which proxies write an address."""
    forms = [f"{address}", f" {address}\t"]
    if address.version == 4:
        forms += [f"{address}:50123", f"::ffff:{address}", f"[::ffff:{address}]:1"]
    else:
        forms += [f"[{address}]", f"[{address}]:50123", address.exploded, f"{address}%eth0"]
    return st.sampled_from(forms)


@given(
    data=st.data(),
    client=ADDRESSES,
    peer=PEERS,
    proxies=st.lists(PROXIES, max_size=MAX_HOPS - 1),
    invented=st.lists(st.one_of(st.text(max_size=60), st.ip_addresses().map(str))),
)
def test_a_client_is_found_whatever_it_invents(
    data: st.DataObject,
    client: ipaddress.IPv4Address,
    peer: ipaddress.IPv4Address,
    proxies: list[ipaddress.IPv4Address],
    invented: list[str],
) -> None:
    """What the client itself sent stands before what the proxies wrote, and changes nothing."""
    written = [data.draw(_written(address)) for address in (client, *proxies)]
    header = ",".join([*invented, *written])
    assert client_address(str(peer), header, TRUSTED) == str(client)
    addresses = ClientAddresses(TRUSTED)
    call = _Call(str(peer), [(FORWARDED_KEY, each) for each in (*map(str, invented), *written)])
    assert addresses.address(call) == str(client)
    assert addresses.network(call) == network_of(str(client))


@given(peer=ADDRESSES, header=st.text())
def test_without_a_proxy_the_header_is_ignored(peer: ipaddress.IPv4Address, header: str) -> None:
    """By default nobody's X-Forwarded-For is believed."""
    assert client_address(str(peer), header, TRUSTED) == str(peer)
    assert client_address("127.0.0.1", header, parse_networks("none")) == "127.0.0.1"


@given(peer=PEERS, header=st.text())
def test_any_text_gives_an_address(peer: ipaddress.IPv4Address, header: str) -> None:
    """A malformed header does not fail the call."""
    ipaddress.ip_address(client_address(str(peer), header, TRUSTED))


@given(data=st.data(), address=st.ip_addresses())
def test_one_client_has_one_network(data: st.DataObject, address: ipaddress.IPv4Address) -> None:
    """However an address is written, it is counted once; an IPv6 client by its /64 network."""
    mapped = getattr(address, "ipv4_mapped", None) or address
    expected = ipaddress.ip_network((mapped, 64 if mapped.version == 6 else 32), strict=False)
    network = network_of(data.draw(_written(mapped)).strip())
    assert ipaddress.ip_network(network) == expected


def test_a_proxy_may_be_named_as_a_mapped_address() -> None:
    """An IPv4 proxy is trusted under either form of its address."""
    for name in ("192.0.2.9", "::ffff:192.0.2.9", "::ffff:192.0.2.0/120"):
        trusted = parse_networks(name)
        for peer in ("192.0.2.9", "::ffff:192.0.2.9"):
            assert client_address(peer, "198.51.100.7", trusted) == "198.51.100.7"


def test_an_invalid_network_is_refused_without_being_repeated() -> None:
    """The error names the variable and shows an example."""
    with pytest.raises(SettingsError, match="FANFARE_TRUSTED_PROXIES is not usable") as told:
        parse_networks("10.0.0.0/8, here")
    assert "here" not in str(told.value)
