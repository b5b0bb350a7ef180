"""Credentials and TLS of a client."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from gateway.client.errors import ClientError, SourceUnreadable


@dataclass(frozen=True)
class Credentials:
    """Credentials: a bearer ``token`` (RFC 6750) or an ``api_key``, and TLS.

    ``verify`` is a file of certificates to trust, or False for none; ``cert`` the client's certificate, alone or
    with its key.
    """

    token: str = ""
    api_key: str = ""
    verify: bool | str | Path = True
    cert: str | Path | tuple[str | Path, str | Path] | None = None

    def __post_init__(self) -> None:
        """Raises SourceUnreadable for a missing certificate or key, ClientError for text that no header can contain.

        An error further down would show the secret in its text.
        """
        for name, secret in (("token", self.token), ("API key", self.api_key)):
            if not (secret.isascii() and secret.isprintable() and secret == secret.strip()):
                raise ClientError(
                    f"The {name} is invalid: it has spaces around it, or characters that no header can contain."
                )
        named = (*_several(self.cert), *([] if isinstance(self.verify, bool) else [self.verify]))
        for path in map(Path, named):
            if not path.exists():
                raise SourceUnreadable(f"{path} is not a file; name the file of the certificate or key.")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign one request. As requests' ``auth``: a ``~/.netrc`` would override a header."""
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        if self.api_key:
            request.headers["X-API-Key"] = self.api_key
        return request

    @property
    def tls(self) -> dict[str, Any]:
        """Options of a request. Passed with each, since REQUESTS_CA_BUNDLE overrides a session's own ``verify``."""
        options: dict[str, Any] = {}
        if self.verify is not True:
            options["verify"] = self.verify if isinstance(self.verify, bool) else str(self.verify)
        if self.cert is not None:
            options["cert"] = tuple(map(str, self.cert)) if isinstance(self.cert, tuple) else str(self.cert)
        return options

    def __repr__(self) -> str:
        return "<Access>"  # a token has no place in a traceback


def _several(cert: str | Path | tuple[str | Path, str | Path] | None) -> tuple[str | Path, ...]:
    return cert if isinstance(cert, tuple) else () if cert is None else (cert,)
