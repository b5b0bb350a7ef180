"""A peer as the gateway uses it: three verbs that each protocol implements, and the values that pass between them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, Protocol, get_args

Level = Literal["study", "series", "instance"]
LEVELS: tuple[Level, ...] = get_args(Level)

Match = dict[str, dict[str, Any]]
"""One match of a query, in the DICOM JSON model: ``{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}`` (PS3.18 F)."""
Check = Callable[[], None]
"""Called often during an operation; it raises Cancelled or DeadlineExceeded to end it."""

STUDY_UID, SERIES_UID, SOP_UID = "0020000D", "0020000E", "00080018"
UIDS: Mapping[Level, str] = {"study": STUDY_UID, "series": SERIES_UID, "instance": SOP_UID}
"""The attribute that identifies a match of each level."""


def unchecked() -> None:
    """Check nothing: an operation that only its caller's interrupt ends."""


@dataclass(frozen=True)
class FetchTarget:
    """What to fetch: a study, one series of it, or one instance of that series, by their UIDs."""

    study: str
    series: str = ""
    instance: str = ""


@dataclass(frozen=True)
class PeerQuery:
    """A query of one level, within a study or a series where their UIDs are given.

    ``filters`` has keywords of attributes (PS3.6) and values as PS3.4 C.2.2.2 matches them, such as ``DOE*``.
    ``fields`` names further attributes to return. ``limit`` is the most matches.
    """

    level: Level = "study"
    study: str = ""
    series: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)
    fields: Sequence[str] = ()
    limit: int = 1_000


class InstanceSink(Protocol):
    """Where fetched instances go, one after the other; each is a DICOM file (PS3.10)."""

    def begin_part(self, media_type: str) -> None:
        """The next instance begins."""

    def write(self, data: bytes | memoryview) -> None:
        """More bytes of it, valid during the call alone."""

    def end(self) -> None:
        """It is complete."""


@dataclass(frozen=True)
class FetchLimits:
    """The most that one fetch may bring."""

    max_bytes: int
    max_instances: int


@dataclass(frozen=True)
class OutgoingInstance:
    """A DICOM file to send; ``open`` returns it at its start, and it has ``size`` bytes then."""

    sop_instance_uid: str
    size: int
    open: Callable[[], BinaryIO]


@dataclass(frozen=True)
class SentInstance:
    """An instance that the peer reports as stored; ``warning`` is its reason (PS3.18 table I.2-2), 0 without one."""

    sop_instance_uid: str
    warning: int = 0


@dataclass(frozen=True)
class RefusedInstance:
    """An instance that the peer did not store, and its failure reason (PS3.7 C, PS3.18 10.5.3), 0 without one."""

    sop_instance_uid: str
    reason: int = 0


@dataclass
class SendReport:
    """What became of each instance that was sent; one that the peer did not mention counts as refused."""

    stored: list[SentInstance] = field(default_factory=list)
    refused: list[RefusedInstance] = field(default_factory=list)


class Peer(Protocol):
    """A remote system. One object serves all threads.

    Each verb raises PeerFailed for a peer that answers what it should not, Unavailable for one that does not answer
    now, and what ``check`` raises.
    """

    @property
    def name(self) -> str:
        """The name in the operator's file."""

    def echo(self) -> None:
        """Return if the peer answers and accepts the gateway's credentials."""

    def find(self, query: PeerQuery, check: Check = unchecked) -> Iterator[Match]:
        """Yield the matches of a query as they arrive, each once."""

    def fetch(self, target: FetchTarget, sink: InstanceSink, limits: FetchLimits, check: Check = unchecked) -> int:
        """Pass all instances of ``target`` to ``sink`` as the peer has them, and return how many.

        Raises StudyNotFound where the peer has none, LimitExceeded, and what the sink raises. The sink decides what
        stays when this raises.
        """

    def store(
        self, instances: Iterable[OutgoingInstance], check: Check = unchecked, report: SendReport | None = None
    ) -> SendReport:
        """Send instances, one file open at a time, and return what became of them.

        A ``report`` of the caller's own is filled and returned, and has what is known where this raises.
        """

    def close(self) -> None:
        """Close the connections."""
