"""Where the server was told to listen. That decides whether strangers can come; no request can say so of itself.

The process that binds announces its addresses before it forks, and the workers inherit them.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

Address = tuple[str, int] | str | bytes | int
"""As gunicorn has them: host and port, the path of a Unix socket, or the number of a descriptor."""


@dataclass
class _Announced:
    addresses: tuple[Address, ...] = ()


_announced = _Announced()


def announce(addresses: Sequence[Address]) -> None:
    """The server is configured to listen here."""
    _announced.addresses = tuple(addresses)


def addresses() -> tuple[Address, ...]:
    """What was announced; empty where no server of ours did, as in a test client."""
    return _announced.addresses


def is_private() -> bool:
    """Whether a server was announced and this machine alone reaches it."""
    return bool(_announced.addresses) and all(map(_is_local, _announced.addresses))


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine's own address (RFC 1122 3.2.1.3, RFC 4291 2.5.3)."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who knows where it leads
        return False


def _is_local(address: Address) -> bool:
    if isinstance(address, int):  # a descriptor that someone else bound
        return False
    return is_loopback(address[0]) if isinstance(address, tuple) else True
