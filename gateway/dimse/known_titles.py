"""The AE titles that may associate: a TOML file, read again when it changes.

```toml
[ae.CT1]
address = ["10.1.2.0/24"]
caller = "ct1"
may = ["store", "find", "get", "move"]
reads = ["radiology"]
subject = "CN=ct1,O=Hospital"
```

``address`` lists the networks that it may connect from, ``caller`` owns what it stores, ``reads`` are other callers
whose studies it may find and retrieve, and ``subject`` is that of the client certificate that it must have (RFC 4514).
"""

import ipaddress
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from gateway.access.callers_file import NAME
from gateway.access.certificates import read as read_subject
from gateway.access.reloading_file import ReloadingFile
from gateway.access.toml_tables import AE_TITLE, is_ae_title

Right = Literal["store", "find", "get", "move"]
"""What an AE title may do; each may verify with C-ECHO, and ``store`` includes storage commitment."""
RIGHTS: tuple[Right, ...] = get_args(Right)
MEMBERS = frozenset({"address", "caller", "may", "reads", "subject"})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class KnownTitle:
    """An AE title and what it may do."""

    title: str
    addresses: tuple[Network, ...]
    caller: str
    may: frozenset[str]
    reads: tuple[str, ...] = ()
    subject: str = ""

    @property
    def owners(self) -> tuple[str, ...]:
        """The callers whose studies it sees, its own first."""
        return tuple(dict.fromkeys((self.caller, *self.reads)))

    def at(self, address: str) -> bool:
        """Return True if it may connect from an address."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        return any(found in network for network in self.addresses)

    def has_subject(self, subject: str) -> bool:
        """Return True if it may use a connection whose certificate has this subject, "" without one."""
        return not self.subject or (bool(subject) and read_subject(subject) == read_subject(self.subject))


class KnownTitles:
    """The file of AE titles."""

    def __init__(self, path: Path) -> None:
        self._file = ReloadingFile(path, parse_titles)

    def all(self) -> dict[str, KnownTitle]:
        """Return the entries by title. Raises ValueError with a sentence for a fault, OSError."""
        return self._file.get()

    def check(self, *, plain: bool) -> None:
        """Read the file. Raises ValueError with a sentence where that fails; ``plain``, also for any address."""
        try:
            titles = self.all()
        except OSError as error:
            raise ValueError(f"{self._file.path}: {error.strerror}") from error
        for known in titles.values():
            if plain and any(network.prefixlen == 0 for network in known.addresses):
                raise ValueError(
                    f"[ae.{known.title}]: without TLS, address lists the networks that it connects from, and not all."
                )


def parse_titles(data: bytes) -> dict[str, KnownTitle]:
    """Read the file. Raises ValueError with a sentence that names the entry."""
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The file of AE titles is no TOML: {error}.") from None
    if set(document) - {"ae"} or not isinstance(document.get("ae", {}), dict):
        raise ValueError("The file of AE titles has tables [ae.TITLE] alone.")
    return {title: _entry(title, members) for title, members in document.get("ae", {}).items()}


def require_title(title: str) -> None:
    """Raise ValueError unless this is an AE title, for the command line."""
    if not is_ae_title(title):
        raise ValueError(f"--aet should be {AE_TITLE}.")


def _entry(title: str, members: Any) -> KnownTitle:
    def fault(text: str) -> ValueError:
        return ValueError(f"[ae.{title}]: {text}.")

    if not is_ae_title(title):
        raise fault(f"it should be {AE_TITLE} (PS3.5 6.2)")
    if not isinstance(members, dict) or (unknown := set(members) - MEMBERS):
        raise fault(f"it has members that are not known: {', '.join(sorted(unknown))}")
    caller, may, subject = members.get("caller"), _words(members.get("may", [])), members.get("subject", "")
    reads = _words(members.get("reads", []))
    if not isinstance(caller, str) or not NAME.fullmatch(caller):
        raise fault('caller names who owns what it stores, such as "ct1"')
    if may is None or not set(may) <= set(RIGHTS):
        raise fault(f"may lists some of {', '.join(RIGHTS)}")
    if reads is None or not all(map(NAME.fullmatch, reads)):
        raise fault("reads lists the names of callers")
    if not isinstance(subject, str):
        raise fault('subject is that of a certificate, such as "CN=ct1,O=Hospital"')
    try:
        networks = tuple(ipaddress.ip_network(one) for one in _words(members.get("address")) or ())
    except ValueError:
        networks = ()
    if not networks:
        raise fault('address lists the networks that it connects from, such as ["10.1.2.0/24"]')
    return KnownTitle(title, networks, caller, frozenset(may), reads, subject)


def _words(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    return None
