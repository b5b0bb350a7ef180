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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from gateway.access.certificates import read as read_subject
from gateway.access.reloading_file import ReloadingFile
from gateway.access.toml_tables import (
    AE_TITLE,
    FileFaults,
    TomlTable,
    is_ae_title,
    is_list_of,
    is_name,
    is_table,
    is_text,
    parse_toml,
)

Right = Literal["store", "find", "get", "move"]
"""What an AE title may do; each may verify with C-ECHO, and ``store`` includes storage commitment."""
RIGHTS: tuple[Right, ...] = get_args(Right)
WHAT = "The file of AE titles"
NETWORKS = 'a list of the networks that it connects from, such as ["10.1.2.0/24"]'

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
    """Read the file. Raises ValueError with a sentence for each fault."""
    document = parse_toml(data, WHAT)
    faults: list[str] = []
    top = TomlTable("the file", document, faults)
    tables = top.take("ae", {}, "tables, such as [ae.CT1]", is_table)
    top.end()
    titles = {title: _entry(title, TomlTable(f"[ae.{title}]", values, faults)) for title, values in tables.items()}
    if faults:
        raise FileFaults(WHAT, faults)
    return titles


def require_title(title: str) -> None:
    """Raise ValueError unless this is an AE title, for the command line."""
    if not is_ae_title(title):
        raise ValueError(f"--aet should be {AE_TITLE}.")


def _entry(title: str, table: TomlTable) -> KnownTitle:
    if not is_ae_title(title):
        table.fault(f"it should be {AE_TITLE} (PS3.5 6.2).")
    addresses = table.take("address", [], NETWORKS, _are_networks)
    known = KnownTitle(
        title,
        tuple(map(ipaddress.ip_network, addresses)),
        table.take("caller", "", 'the name of the caller that owns what it stores, such as "ct1"', is_name),
        frozenset(table.take("may", [], f"a list of some of {', '.join(RIGHTS)}", is_list_of(_is_right))),
        tuple(table.take("reads", [], "a list of names of callers", is_list_of(is_name))),
        table.take("subject", "", 'that of a certificate, such as "CN=ct1,O=Hospital"', _is_subject),
    )
    table.require("address", "caller")
    table.end()
    return known


def _is_right(value: Any) -> bool:
    return value in RIGHTS


def _is_subject(value: Any) -> bool:
    return isinstance(value, str)


def _are_networks(value: Any) -> bool:
    try:
        return is_list_of(is_text)(value) and bool([ipaddress.ip_network(one) for one in value])
    except ValueError:
        return False
