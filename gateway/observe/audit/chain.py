"""A chain of records: each holds its number and the digest of the one before, and is signed.

A record is one line, canonical JSON. The digest of a line is the *head* of the chain that ends with it: whoever noted a
head elsewhere can tell later whether the chain still leads through it. The newest head lies beside the file, signed
too, so that a tail that was cut off is missed.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gateway.observe.audit.canonical import canonical, sha256, sign, signed

GENESIS = "0" * 64
"""Stands for the digest of the record before the first."""

UNSIGNED = "0" * 64
_UNSIGNED_MEMBER = f'"mac":"{UNSIGNED}",'.encode()
"""Where a record's signature goes; stands once in a record, since a quotation mark in a text is escaped."""
_LINKS = {"chain": str, "seq": int, "prev": str, "mac": str}
_HEAD = re.compile(r"([0-9]{1,20}):([0-9a-f]{64})")
_HEAD_FILE = re.compile(
    r"gateway-audit-1 (?P<chain>[0-9a-f]{16}) (?P<seq>[0-9]{20}) (?P<size>[0-9]{20}) (?P<digest>[0-9a-f]{64}) "
    r"(?P<mac>[0-9a-f]{64})\n"
)
HEAD_FILE_BYTES = 204
"""Always as many, so that a head is replaced by one write within one block."""


@dataclass(frozen=True)
class ChainHead:
    """The end of a chain: the number and the digest of its last record. ``chain`` tells one chain from another."""

    seq: int
    digest: str
    chain: str = ""

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` writes. Raises ValueError."""
        match = _HEAD.fullmatch(text)
        if match is None:
            raise ValueError("A head is NUMBER:DIGEST, as audit verify prints it.")
        return cls(int(match[1]), match[2])

    @classmethod
    def begin(cls) -> Self:
        """The end of a chain that has no record yet."""
        return cls(0, GENESIS, secrets.token_hex(8))


@dataclass(frozen=True)
class Sealed:
    """A record in its place: its members, its line without the line end, and the head that it makes."""

    record: Mapping[str, Any]
    line: bytes
    head: ChainHead

    @property
    def prev(self) -> str:
        """The digest of the record before it."""
        return str(self.record["prev"])


def seal(members: Mapping[str, Any], after: ChainHead, key: bytes) -> Sealed:
    """Put a record behind ``after``, signed with ``key``."""
    record = {**members, "chain": after.chain, "mac": UNSIGNED, "prev": after.digest, "seq": after.seq + 1}
    before, after_it = canonical(record).split(_UNSIGNED_MEMBER)
    record["mac"] = sign(before + after_it, key)
    line = b'%b"mac":"%b",%b' % (before, record["mac"].encode(), after_it)
    return Sealed(record, line, ChainHead(after.seq + 1, sha256(line), after.chain))


def unseal(line: bytes, key: bytes | None) -> Sealed:
    """Read one line again; without a key its signature is not looked at. Raises ValueError for what is no record."""
    try:
        record = json.loads(line)
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except ValueError:
        raise ValueError("is not JSON") from None
    if not isinstance(record, dict) or any(type(record.get(name)) is not kind for name, kind in _LINKS.items()):
        raise ValueError("has no place in a chain")
    unsigned = {name: value for name, value in record.items() if name != "mac"}
    try:
        same = canonical(record) == line
    except ValueError:  # NaN and Infinity, which are not JSON
        same = False
    if not same:
        raise ValueError("is not spelt as it was written")
    if key is not None and not signed(canonical(unsigned), key, record["mac"]):
        raise ValueError("is not signed with this key")
    return Sealed(record, line, ChainHead(record["seq"], sha256(line), record["chain"]))


@dataclass(frozen=True)
class HeadFile:
    """The file beside the audit file: its newest head, and its size then, in bytes."""

    head: ChainHead
    size: int

    def written(self, key: bytes) -> bytes:
        """HEAD_FILE_BYTES bytes: the head, and a signature over it."""
        text = f"gateway-audit-1 {self.head.chain} {self.head.seq:020d} {self.size:020d} {self.head.digest}"
        return f"{text} {sign(text.encode(), key)}\n".encode()

    @classmethod
    def read(cls, data: bytes, key: bytes | None) -> Self | None:
        """The head in ``data``, None where there is none. Raises ValueError where another key signed it."""
        match = _HEAD_FILE.fullmatch(data.decode("ascii", "replace"))
        if match is None:
            return None
        text = match[0].rpartition(" ")[0].encode()
        if key is not None and not signed(text, key, match["mac"]):
            raise ValueError("The head beside the audit file is not signed with this key.")
        return cls(ChainHead(int(match["seq"]), match["digest"], match["chain"]), int(match["size"]))


def head_path(path: Path) -> Path:
    """Return the path of the head of the audit file ``path``."""
    return path.with_name(f"{path.name}.head")


def key_path(path: Path) -> Path:
    """Return the path of the key of the audit file ``path``, unless a setting names another."""
    return path.with_name(f"{path.name}.key")
