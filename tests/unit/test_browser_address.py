"""From where a request came."""

import ipaddress

import pytest

from nbplatform_spawners.auth.address import browser_address

PEER = ("127.0.0.1", 43210)
PROXY = "192.0.2.1"
ADDRESSES = {
    "no header": ("", PEER, "127.0.0.1"),
    "one address": ("198.51.100.7", PEER, "198.51.100.7"),
    "the last one": ("203.0.113.9, 198.51.100.7", PEER, "198.51.100.7"),
    "a proxy of ours is skipped": (f"198.51.100.7, {PROXY}", PEER, "198.51.100.7"),
    "nothing but proxies of ours": (f"{PROXY}, {PROXY}", PEER, "127.0.0.1"),
    "empty entries": (" , 198.51.100.7 ,, ", PEER, "198.51.100.7"),
    "junk before the last one": ("evil user=root, 198.51.100.7", PEER, "198.51.100.7"),
    "IPv6, in its one spelling": ("2001:DB8:0::0:1", PEER, "2001:db8::1"),
    "IPv6 of a link": ("fe80::1%eth0", PEER, "fe80::1"),
    "an IPv6 peer": ("", ("fe80::1%eth0", 43210, 0, 2), "fe80::1"),
    "a Unix socket": ("", b"", "-"),
    "a Unix socket and a proxy": ("198.51.100.7", "", "198.51.100.7"),
    "no peer": ("", None, "-"),
    "text after the address": ("9.9.9.4 reason=ok user=root", PEER, "127.0.0.1"),
    "text after a per cent sign": ("fe80::1%x reason=ok user=root", PEER, "fe80::1"),
    "an address before junk is not believed": ("198.51.100.7, junk", PEER, "127.0.0.1"),
    "a terminal's control characters": ("\x1b[31m9.9.9.9", PEER, "127.0.0.1"),
    "control characters after a per cent sign": ("fe80::1%\x1b[31m", PEER, "fe80::1"),
    "a line break": ("9.9.9.9\n[I] login of root", PEER, "127.0.0.1"),
    "digits of another script": ("\u0663.2.3.4", PEER, "127.0.0.1"),
    "a number": ("2130706433", PEER, "127.0.0.1"),
    "octal": ("0177.0.0.1", PEER, "127.0.0.1"),
    "a port": ("198.51.100.7:5000", PEER, "127.0.0.1"),
    "a name": ("localhost", PEER, "127.0.0.1"),
    "very long": ("9" * 60_000, PEER, "127.0.0.1"),
}


@pytest.mark.parametrize(("forwarded", "peer", "expected"), ADDRESSES.values(), ids=ADDRESSES)
def test_what_is_returned_is_an_address_or_a_dash(forwarded: str, peer: object, expected: str) -> None:
    """Anybody can write the header, and the result is logged: no text of it gets through."""
    address = browser_address(forwarded, [PROXY], peer)
    assert address == expected
    assert address == "-" or str(ipaddress.ip_address(address)) == address
