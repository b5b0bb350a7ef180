"""The URL of a webhook, and the origins that webhooks may go to.

One expression reads a URL, and the connection is made from its parts alone: a second parser could see another host.
"""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from gateway.errors import WebhookRefused

LONGEST_URL = 2048
"""Characters of a URL; RFC 9110 4.1 asks for 8,000, and browsers and proxies have long lived with this many."""

PORTS = {"http": 80, "https": 443}

_URL = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
    r"(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
"""RFC 3986, without user information, without a fragment, and with a host in ASCII (RFC 5890 2.3.2.1)."""

_NUMERIC = re.compile(r"(.*\.)?(0[Xx][0-9A-Fa-f]*|[0-9]+)")
"""A host that resolvers read as an IPv4 address, such as 2130706433 or 0x7f.1 (WHATWG URL, "ends in a number")."""

WRONG = (
    "The webhook should be an absolute http or https URL of at most 2,048 ASCII characters, without user name and"
    " fragment; write an international host in its ASCII form (xn--), and an address in its usual form."
)


@dataclass(frozen=True)
class Callback:
    """A URL to post to. ``host`` is a name in lower case, or an address without brackets."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)  # it may hold a secret of the receiver

    @classmethod
    def parse(cls, url: str) -> "Callback":
        """Read a URL. Raises WebhookRefused."""
        match = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
        host = _host(match["host"].lower()) if match else ""
        if match is None or not host:
            raise WebhookRefused(WRONG)
        scheme = match["scheme"].lower()
        port = int(match["port"] or PORTS[scheme])
        if not 0 < port < 65536:
            raise WebhookRefused(WRONG)
        return cls(scheme, host, port, (match["path"] or "/") + (match["query"] or ""))

    @property
    def origin(self) -> str:
        """Scheme, host and port, the last only where it is not the scheme's own (RFC 6454 6.2)."""
        return origin_of(self.scheme, self.host, self.port)

    @property
    def url(self) -> str:
        """The URL in its one form."""
        return self.origin + self.target

    @property
    def authority(self) -> str:
        """The value of ``Host`` (RFC 9110 7.2)."""
        return self.origin.partition("://")[2]


def origin_of(scheme: str, host: str, port: int) -> str:
    """Return an origin as text; an IPv6 address gets its brackets."""
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" if PORTS[scheme] == port else f"{scheme}://{name}:{port}"


def _host(text: str) -> str:
    """Return a host in its one form; "" for one that is neither a name nor an address in its usual form."""
    try:
        if text.startswith("["):
            return ipaddress.IPv6Address(text[1:-1]).compressed
        return str(ipaddress.IPv4Address(text)) if _NUMERIC.fullmatch(text) else text if ".." not in text else ""
    except ValueError:
        return ""


def allowed_origins(setting: str) -> Collection[str]:
    """Return the origins of the setting ``webhook_origins``. Raises ValueError with the number of a wrong one."""
    origins = set()
    for number, text in enumerate(setting.replace(",", " ").split(), 1):
        try:
            callback = Callback.parse(text)
        except WebhookRefused:
            callback = None
        if callback is None or callback.target != "/":
            raise ValueError(
                f"webhook_origins (GATEWAY_WEBHOOK_ORIGINS): entry {number} should be an origin,"
                " such as https://hooks.example.org or https://10.0.0.5:8443."
            )
        origins.add(callback.origin)
    return frozenset(origins)
