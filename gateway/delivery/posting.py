"""One POST to a checked address: bounded in time, without redirects, proxies or names that are looked up again."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.delivery.addresses import CheckedAddress
from gateway.delivery.callbacks import Callback

CONNECT_SECONDS = 5.0
"""Seconds to connect: a network that answers at all does so in two tries of TCP (RFC 6298)."""
POST_SECONDS = 15.0
"""Seconds from the connection to the head of the response; Standard Webhooks recommends 15 to 30."""

MOST_ADDRESSES = 3
"""Addresses of one host that are tried, for the time that each takes."""


class NotHTTP(OSError):
    """What answered was not HTTP, or ended too early."""


@dataclass(frozen=True)
class Reply:
    """The head of a response: its status, and ``retry_after`` in seconds, 0 without one. Its body is not read."""

    status: int
    retry_after: float = 0.0


def post(
    callback: Callback,
    addresses: Sequence[CheckedAddress],
    headers: Mapping[str, str],
    body: bytes,
    context: ssl.SSLContext,
    *,
    seconds: float = POST_SECONDS,
) -> Reply:
    """Post to the first of ``addresses`` that accepts a connection; the certificate is verified by ``context``.

    It must be that of the host of ``callback``, whatever the address. Raises OSError.
    """
    with (
        _connected(addresses, seconds) as plain,
        _at_most(plain, seconds),
        _secured(plain, callback, context) as stream,
    ):
        connection = http.client.HTTPConnection(callback.host, callback.port)
        connection.sock = stream  # it is open, so nothing is connected by name
        try:
            connection.request("POST", callback.target, body, {"Host": callback.authority, **headers})
            response = connection.getresponse()
        except http.client.HTTPException as error:
            raise NotHTTP(type(error).__name__) from error
        return Reply(response.status, _seconds(response.getheader("Retry-After", "")))


def _connected(addresses: Sequence[CheckedAddress], seconds: float) -> socket.socket:
    *others, last = addresses[:MOST_ADDRESSES]
    for address in others:
        with contextlib.suppress(OSError):
            return _connect(address, seconds)
    return _connect(last, seconds)


def _connect(address: CheckedAddress, seconds: float) -> socket.socket:
    made = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        made.settimeout(CONNECT_SECONDS)
        made.connect(address.place)
        made.settimeout(seconds)
    except BaseException:
        made.close()
        raise
    return made


def _secured(plain: socket.socket, callback: Callback, context: ssl.SSLContext) -> socket.socket:
    return context.wrap_socket(plain, server_hostname=callback.host) if callback.scheme == "https" else plain


@contextlib.contextmanager
def _at_most(stream: socket.socket, seconds: float) -> Iterator[None]:
    """Shut a connection down after ``seconds``: a timeout of the socket begins again with each byte."""
    with stream.dup() as watched:  # TLS takes the descriptor of ``stream``

        def shut() -> None:
            with contextlib.suppress(OSError):
                watched.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, shut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _seconds(text: str) -> float:
    """Return the seconds of Retry-After (RFC 9110 10.2.3); 0 for a date, which few receivers send."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0
