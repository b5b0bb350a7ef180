"""Verification of a chain: no record changed, moved, added or removed, and none cut off its end."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.config import KiB, MiB
from gateway.observe.audit.canonical import sha256
from gateway.observe.audit.chain import GENESIS, HEAD_FILE_BYTES, ChainHead, HeadFile, Sealed, head_path, unseal

LONGEST_LINE = 64 * KiB
"""Bytes of a line that may be a record; ours have one or two thousand."""
LONGEST_TORN = 1 * MiB
"""Bytes that are no record and yet compared with what a later record tells of them."""
MOST_FAULTS = 20
"""Faults that are told one by one; where there are more, the chain is not worth reading on."""


@dataclass
class ChainVerdict:
    """The result of a verification. ``notes`` are not faults: a killed writer, or the time since a head was written."""

    records: int = 0
    head: ChainHead | None = None
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Return True if no fault was found."""
        return not self.faults


def verify(
    files: Sequence[Path], *, key: bytes | None = None, expect: ChainHead | None = None, after: ChainHead | None = None
) -> ChainVerdict:
    """Read the ``files`` of one chain, the oldest first. Records may be appended meanwhile.

    With ``key`` each record's signature is checked, and that the chain leads through the head that lies beside the last
    file. ``expect`` is a head that was noted elsewhere: the chain must lead through it. ``after`` is the head before
    the first record of ``files``, where earlier files are gone. Raises ValueError where there is neither key nor
    ``expect``, since anybody can write a chain; OSError.
    """
    if key is None and expect is None:
        raise ValueError("Without the key or a head that was noted elsewhere nothing can be vouched for.")
    reading = Reading(key, after)
    reading.lead_to(expect, "the head that you expect")
    reading.lead_to_head_beside(files[-1])  # before the records, to which more may be added meanwhile
    for number, line in enumerate(_lines(files), start=1):
        reading.take(number, line)
        if len(reading.verdict.faults) >= MOST_FAULTS:
            break
    reading.finish()
    return reading.verdict


class Reading:
    """A walk along a chain, line by line."""

    def __init__(self, key: bytes | None, after: ChainHead | None) -> None:
        self.verdict = ChainVerdict()
        self._key = key
        self._at = after or ChainHead(0, GENESIS)
        self._goals: list[tuple[ChainHead, str]] = []
        self._reached: set[ChainHead] = set()
        self._torn = b""
        self._why = ""

    def lead_to(self, head: ChainHead | None, name: str) -> None:
        """A head that the chain must lead through."""
        if head is not None:
            self._goals.append((replace(head, chain=""), name))

    def lead_to_head_beside(self, file: Path) -> None:
        """Through the head that the last writer left, too. Only the key makes that one worth anything."""
        if self._key is None:
            self.verdict.notes.append("without the key, signatures and the head beside the file were not looked at")
            return
        try:
            with head_path(file).open("rb") as opened:
                head_file = HeadFile.read(opened.read(HEAD_FILE_BYTES + 1), self._key)
        except FileNotFoundError:
            head_file = None
        except ValueError as error:
            self._fault(str(error))
            return
        if head_file is not None:
            self.lead_to(head_file.head, "the head beside the file")
        elif not self._goals:
            self._fault("there is no head beside the file, so that a tail that was cut off would not be missed")

    def take(self, number: int, line: bytes) -> None:
        """Verify one line, with its line end where it has one."""
        try:
            sealed = unseal(line.removesuffix(b"\n"), self._key)
        except ValueError as why:
            if len(self._torn) < LONGEST_TORN:
                self._torn += line
            self._why = f"line {number} {why}"
            return
        self._take_torn(sealed)
        self._link(number, sealed)
        self.verdict.records += 1
        self.verdict.head = self._at = sealed.head
        self._reached.update(head for head, _ in self._goals if str(head) == str(sealed.head))

    def _link(self, number: int, sealed: Sealed) -> None:
        head, at = sealed.head, self._at
        if head.seq != at.seq + 1:
            self._fault(f"line {number} is record {head.seq}, where record {at.seq + 1} should follow")
        elif sealed.prev != at.digest:
            self._fault(f"line {number}, record {head.seq}, does not follow the record before it")
        elif at.chain not in ("", head.chain):
            self._fault(f"line {number} is of another chain")
        if sealed.record.get("headless"):
            self._fault(f"before record {head.seq} the head beside the file was gone; what lay between is not known")

    def _take_torn(self, sealed: Sealed) -> None:
        """Bytes that are no record are a killed writer's if the next record tells of just these."""
        torn, self._torn = self._torn, b""
        noted = sealed.record.get("torn")
        if not torn and noted is None:
            return
        is_noted = isinstance(noted, dict) and noted.get("sha256") in (sha256(torn), sha256(torn.removesuffix(b"\n")))
        if is_noted:
            self.verdict.notes.append(f"before record {sealed.head.seq} a writer was killed: {len(torn)} bytes of one")
        else:
            self._fault(self._why if torn else f"what record {sealed.head.seq} tells of a killed writer is gone")

    def finish(self) -> None:
        """All lines are read: is the end where it should be?"""
        if self._torn.endswith(b"\n") or len(self._torn) >= LONGEST_TORN:
            self._fault(self._why)
        elif self._torn:
            self.verdict.notes.append("the last line is not whole: its writer was killed, or is writing now")
        for head, name in self._goals:
            if head.seq and head not in self._reached:
                self._fault(f"the chain does not lead to {name}, record {head.seq}: it was cut or rewritten")
            elif behind := self._at.seq - head.seq:
                self.verdict.notes.append(f"{behind} records follow {name}")

    def _fault(self, sentence: str) -> None:
        self.verdict.faults.append(sentence)


def _lines(files: Iterable[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                yield line
                if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                    break  # the end, where a record is perhaps being written: its rest may be there a moment later
