"""One peer as the operator's file has it: its addresses, and which callers may use it."""

from dataclasses import dataclass, field
from pathlib import Path

NOT_ADMITTED = "No peer of this name may be used by this caller."
"""The refusal of a request, the same whether there is such a peer or not."""
ANY = "*"
"""In ``callers``: every caller that the gateway admits."""
CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
"""Defaults: a network that answers at all does so in three tries of TCP, and an archive may load a study from tape."""
CONNECTIONS = 4
"""Default of connections to one peer at once: a PACS often limits a client to a few."""

CALLING = "GATEWAY"
"""Default of the gateway's own AE title, as ``dimse --aet`` has it."""


@dataclass(frozen=True)
class WebAddress:
    """How to reach a peer by DICOMweb. ``url`` has no slash at its end; the paths of services stand behind it."""

    url: str
    qido: str = ""
    wado: str = ""
    stow: str = ""
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    password_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    verify: bool = True
    connect_seconds: float = CONNECT_SECONDS
    read_seconds: float = READ_SECONDS

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what is allowed and not safe."""
        found = []
        if not self.verify:
            found.append("verify is off: any host could answer in its place.")
        if self.url.startswith("http:") and (self.token or self.token_file or self.user):
            found.append("credentials are sent without TLS: use https.")
        return tuple(found)


@dataclass(frozen=True)
class DimseAddress:
    """How to reach a peer by the DICOM network protocol (PS3.8).

    ``calling`` is the AE title that the gateway calls with. With ``tls``, ``ca`` signs the peer's
    certificate, and the system's authorities do where it is absent.
    """

    host: str
    port: int
    aet: str
    calling: str = CALLING
    tls: bool = False
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    connect_seconds: float = CONNECT_SECONDS
    read_seconds: float = READ_SECONDS


@dataclass(frozen=True)
class PeerEntry:
    """One peer of the file; it has a DICOMweb address, a DIMSE address, or both.

    ``callers`` are the names of callers that may have the gateway fetch from it; without one, only the operator may.
    """

    name: str
    callers: tuple[str, ...] = ()
    connections: int = CONNECTIONS
    web: WebAddress | None = None
    dimse: DimseAddress | None = None

    def admits(self, caller: str) -> bool:
        """Return True if a caller may use this peer; "" is an anonymous one."""
        return ANY in self.callers or (bool(caller) and caller in self.callers)
