"""The subject of a client's certificate, which the TLS handshake has verified, as RFC 4514 writes it."""

from collections.abc import Mapping
from typing import Any

_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
"""OpenSSL's long names of the attributes that RFC 4514 3 abbreviates."""


def subject(environ: Mapping[str, Any]) -> str:
    """The subject of the certificate behind this connection; "" where there is no TLS or no certificate.

    gunicorn gives the socket itself. Headers such as ``X-Client-Cert`` are never read: anyone can send them.
    """
    certificate: dict[str, Any] | None = getattr(environ.get("gunicorn.socket"), "getpeercert", dict)()
    names = (certificate or {}).get("subject", ())
    return ",".join("+".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in rdn) for rdn in names[::-1])


def _escaped(value: str) -> str:
    """RFC 4514 2.4."""
    text = "".join("\\00" if char == "\0" else f"\\{char}" if char in '\\",+;<>' else char for char in value)
    if text.startswith((" ", "#")):
        text = f"\\{text}"
    return f"{text[:-1]}\\ " if text.endswith(" ") and len(value) > 1 else text
