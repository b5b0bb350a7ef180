"""The addresses that the server listens on. They determine whether other machines reach it.

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
    private: bool = False
    networked: bool = False
    closed: bool = False


_announced = _Announced()


def announce(addresses: Sequence[Address]) -> None:
    """Record the addresses that the server is configured to listen on."""
    _announced.addresses = tuple(addresses)
    # once: each request asks
    _announced.private = bool(addresses) and all(map(_is_local, addresses))
    _announced.networked = not all(isinstance(address, str | bytes) for address in addresses)


def addresses() -> tuple[Address, ...]:
    """Return the announced addresses; empty where no server of the gateway announced any, as in a test client."""
    return _announced.addresses


def refuse_anonymous() -> None:
    """Have the workers refuse to start where other machines reach them and no caller is authenticated."""
    _announced.closed = True


def refuses_anonymous() -> bool:
    """Return True after ``refuse_anonymous``, in that process and in those that it forks."""
    return _announced.closed


def is_private() -> bool:
    """Return True if a server was announced and only this machine reaches it."""
    return _announced.private


def is_networked() -> bool:
    """Return True if a server was announced on more than Unix sockets: a browser reaches it, if only on loopback."""
    return _announced.networked


def is_loopback(host: str) -> bool:
    """Return True if ``host`` is a loopback address (RFC 1122 3.2.1.3, RFC 4291 2.5.3)."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may resolve to any address
        return False


def _is_local(address: Address) -> bool:
    if isinstance(address, int):  # a descriptor that another program bound
        return False
    return is_loopback(address[0]) if isinstance(address, tuple) else True
