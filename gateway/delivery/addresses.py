"""The addresses of a host, checked before one of them is connected to.

The name is resolved once, and the connection goes to an address of that answer: a second look-up could have another
(DNS rebinding).
"""

import ipaddress
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.delivery.callbacks import Callback, origin_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNICAST = ipaddress.IPv6Network("2000::/3")
"""The addresses of IPv6 that IANA assigns to hosts of the internet (RFC 3513 4)."""
TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses whose last 32 bits are an IPv4 address that a translator connects to (RFC 6052 2.1)."""


class AddressForbidden(OSError):
    """All addresses of a host are loopback, link-local, private or otherwise not of the internet, and not listed."""


@dataclass(frozen=True)
class CheckedAddress:
    """A checked address as ``socket.connect`` takes it."""

    family: int
    place: tuple[Any, ...]


def checked_addresses(callback: Callback, allowed: Collection[str]) -> Sequence[CheckedAddress]:
    """Resolve a host, and return the addresses that may be connected to, at least one.

    Raises AddressForbidden where there is none, and OSError where the name does not resolve.
    """
    answers = socket.getaddrinfo(callback.host, callback.port, type=socket.SOCK_STREAM)
    checked = [
        CheckedAddress(family, place)
        for family, _, _, _, place in answers
        if may_connect(str(place[0]), callback, allowed)
    ]
    if not checked:
        raise AddressForbidden("no address of this host may be connected to")
    return checked


def may_connect(text: str, callback: Callback, allowed: Collection[str]) -> bool:
    """Return True for an address of the internet, and for one whose own origin is allowed."""
    address = ipaddress.ip_address(text)
    return is_public(address) or origin_of(callback.scheme, address.compressed, callback.port) in allowed


def is_public(address: Address) -> bool:
    """Return True for an address of a host on the internet; one within another address is judged as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if (inner := _inner(address)) is not None:
            return is_public(inner)
        return address in UNICAST and address.is_global
    return address.is_global and not address.is_multicast


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that packets to this address end at (RFC 4291 2.5.5.2, RFC 3056, RFC 6052)."""
    if address in TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
