"""The subject of a client's certificate, which the TLS handshake has verified, as RFC 4514 writes it."""

import functools
import re
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


_ALIASES = {"SN": "SURNAME", "GN": "GIVENNAME"}
"""OpenSSL's short names of attributes that the handshake names in full and RFC 4514 does not abbreviate."""
_ESCAPE = re.compile(rb"\\(?:([0-9A-Fa-f]{2})|(.))", re.DOTALL)

Name = tuple[frozenset[tuple[str, str]], ...]


def subject(environ: Mapping[str, Any]) -> str:
    """Return the subject of the connection's certificate; "" without TLS or a certificate.

    The socket, which gunicorn passes, has it. Headers such as ``X-Client-Cert`` are never read: anyone can send them.
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


@functools.lru_cache(maxsize=1024)
def read(subject: str) -> Name:
    """Normalise a subject: equal results mean the same subject (RFC 4514 2 and 3).

    The attributes of one level have no order, the type of an attribute ignores case, and any character
    may be written as its bytes in hexadecimal, as ``openssl`` does beyond ASCII.
    """
    return tuple(frozenset(map(_attribute, _apart(level, "+"))) for level in _apart(subject, ","))


def _apart(text: str, at: str) -> list[str]:
    return re.findall(rf"(?:\\.|[^\\{at}])+", text, re.DOTALL)


def _attribute(text: str) -> tuple[str, str]:
    kind, _, value = text.partition("=")
    data = _ESCAPE.sub(_unescaped, value.encode("utf-8", "surrogatepass"))
    kind = kind.strip().upper()
    return _ALIASES.get(kind, kind), data.decode("utf-8", "surrogateescape")


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode()) if escape[1] else escape[2]
