"""The address of a client, directly and through proxies."""

from __future__ import annotations

import pytest

from core.auth.addresses import client_address, owner_of, parse_networks, peer_address
from core.settings import SettingsError

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
    assert owner_of("2001:db8::1") == owner_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert owner_of("192.0.2.1") == "192.0.2.1"
    assert owner_of("unknown") == "unknown"


def test_an_invalid_network_is_refused_without_being_repeated() -> None:
    """The error names the variable and shows an example."""
    with pytest.raises(SettingsError, match="FANFARE_TRUSTED_PROXIES is not usable") as told:
        parse_networks("10.0.0.0/8, here")
    assert "here" not in str(told.value)
