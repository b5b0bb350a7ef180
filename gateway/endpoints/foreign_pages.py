"""Pages of other sites in a browser on this machine or its network: refused where no caller needs a credential.

A browser lets any page send requests to any address, loopback included. Two rules keep them out: the request names a
host that only this gateway can have (DNS rebinding), and it does not come from another origin (Fetch Metadata).
"""

import ipaddress
import re
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from gateway.access import listeners
from gateway.endpoints.security_headers import Origins
from gateway.errors import Forbidden, MisdirectedRequest

NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
ANY = "*"
HOSTS = 64
"""Values of Host that are remembered with their verdict: clients of one service send few."""


class ForeignPages:
    """The rules of one application; ``on`` where they apply, which is known once the server has announced itself."""

    def __init__(self, hosts: str, origins: Origins) -> None:
        """``hosts`` are names with commas between. Raises ValueError for an invalid one."""
        self._hosts = {word.strip().lower() for word in hosts.split(",") if word.strip()}
        if not all(NAME.fullmatch(word) for word in self._hosts - {ANY}):
            raise ValueError(
                "allowed_hosts (GATEWAY_ALLOWED_HOSTS) should be names without a port, such as gateway.lan, or *."
            )
        self._origins = origins

    @property
    def on(self) -> bool:
        """Return True for ``serve``, for a server on loopback, and where names are configured.

        Plain gunicorn and ``Gateway.run`` beyond loopback serve services that were written without these rules. A
        browser reaches no Unix socket, and no application without a server.
        """
        ruled = listeners.is_private() or listeners.refuses_anonymous()
        return bool(self._hosts) or (listeners.is_networked() and ruled)

    def check(self, environ: dict[str, Any]) -> None:
        """Raise MisdirectedRequest for a foreign host, Forbidden for a page of another origin."""
        host = environ.get("HTTP_HOST", "")
        if host and not self._is_own(host):
            raise MisdirectedRequest(
                "This gateway has no authentication and does not know the name in Host. "
                "If the name is its own, list it in GATEWAY_ALLOWED_HOSTS."
            )
        self.check_origin(environ)

    def check_origin(self, environ: dict[str, Any]) -> None:
        """Raise Forbidden for a page of another origin."""
        if _is_foreign(environ, environ.get("HTTP_HOST", "")) and not self._origins.allows(environ):
            raise Forbidden(
                "Pages of other origins may not send requests here. If the page is trusted, list its origin in "
                "GATEWAY_CORS_ORIGINS."
            )

    def _is_own(self, host: str) -> bool:
        """Return True for an address, for localhost and for a configured name: no foreign DNS resolves these."""
        name, is_address = _name(host)
        return is_address or name == "localhost" or name in self._hosts or ANY in self._hosts


def require_own_page(environ: dict[str, Any]) -> None:
    """Require that a page of this gateway sends a form, as its browser states it (Fetch 3.2, Fetch Metadata).

    A browser may add credentials that it remembers to a form of any page. Raises Forbidden.
    """
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN", "")
    own = _authority(origin) == environ.get("HTTP_HOST", "").lower() != ""
    if site != "same-origin" and not (site is None and own):
        raise Forbidden(
            "This form is accepted from a page of the gateway alone, with Origin or Sec-Fetch-Site. "
            "A proxy must pass on Host and these fields."
        )


@lru_cache(HOSTS)
def _name(host: str) -> tuple[str, bool]:
    """Return the name or address in a Host field (RFC 9110 7.2), "" where it has none, and whether it is an address."""
    name = ""
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        return name, bool(ipaddress.ip_address(name))
    except ValueError:
        return name, False


def _is_foreign(environ: dict[str, Any], host: str) -> bool:
    """Return True for a request that a page of another origin began, as its browser states it (Fetch 3.2, 7.2).

    A link that a person follows is not one: the page that has it reads nothing of the response.
    """
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
    if site in ("same-origin", "none"):
        return False
    mode, destination = environ.get("HTTP_SEC_FETCH_MODE"), environ.get("HTTP_SEC_FETCH_DEST")
    if (environ["REQUEST_METHOD"], mode, destination, origin) == ("GET", "navigate", "document", None):
        return False
    if site == "cross-site":
        return True
    return origin is not None and _authority(origin) != host.lower()


def _authority(origin: str) -> str:
    """Return host and port of an origin, "" for ``null`` and others that are not URLs."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
