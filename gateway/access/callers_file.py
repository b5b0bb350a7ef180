"""The file of callers, each with the digest of a key or the subject of a certificate.

``{"version": 1, "callers": [{"name", "sha256" | "subject", "roles", "routes", "reads", "expires"}]}``, one JSON file
(RFC 8259), mode 0600. No file has a key itself: it has 256 random bits, so one sha256 is as good as a slow hash.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from gateway.access.callers import ROLES, Caller, roles
from gateway.access.file_changes import rewrite

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A caller's name, safe in headers and log lines."""
MEMBERS = frozenset({"name", "sha256", "subject", "roles", "routes", "reads", "expires"})
_DIGEST = re.compile(r"[0-9a-f]{64}")
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class CallerEntry:
    """A caller of the file: ``sha256`` of its key in hexadecimal, or ``subject`` of its certificate (RFC 4514); the
    other is "".

    ``expires`` carries its time zone.
    """

    caller: Caller
    sha256: str = ""
    subject: str = ""
    expires: datetime | None = None

    def expired(self, now: datetime | None = None) -> bool:
        """Return True if the entry has expired."""
        return self.expires is not None and self.expires <= (now or datetime.now(UTC))


def parse(data: bytes) -> tuple[CallerEntry, ...]:
    """Read the file. Raises ValueError with a sentence that quotes nothing but the number of an entry."""
    entries = read_entries(data, "callers", _entry)
    if len({entry.caller.name for entry in entries}) < len(entries):
        raise ValueError("The file of callers cannot be read: two callers have one name.")
    return entries


def read_entries(
    data: bytes, member: str, read: Callable[[dict[str, Any]], Entry], what: str = ""
) -> tuple[Entry, ...]:
    """Read a file of version 1 with a list of entries in ``member``; ``what`` names them where ``member`` does not.

    Raises ValueError with a sentence that quotes nothing but the number of an entry.
    """
    unreadable = f"The file of {what or member} cannot be read"
    try:
        file = json.loads(data)
        if file["version"] != 1:
            raise ValueError("it is not of version 1")
        return tuple(_numbered(number, entry, member, read) for number, entry in enumerate(file[member]))
    except (KeyError, TypeError, RecursionError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{unreadable}: {type(error).__name__}.") from None
    except ValueError as error:
        raise ValueError(f"{unreadable}: {error}.") from None


def _numbered(number: int, entry: dict[str, Any], member: str, read: Callable[[dict[str, Any]], Entry]) -> Entry:
    try:
        return read(entry)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(f"{member.removesuffix('s')} {number} has a fault") from None


def _entry(members: dict[str, Any]) -> CallerEntry:
    if unknown := members.keys() - MEMBERS:
        raise ValueError(f"{len(unknown)} unknown members")
    sha256, subject = members.get("sha256", ""), members.get("subject", "")
    if bool(sha256) == bool(subject) or not isinstance(subject, str):
        raise ValueError("neither a key nor a certificate")
    if sha256 and not _DIGEST.fullmatch(sha256):
        raise ValueError("no sha256")
    return CallerEntry(read_caller(members), sha256, subject, read_expiry(members))


def read_caller(members: dict[str, Any]) -> Caller:
    """Return the caller of an entry. Raises KeyError, TypeError, ValueError for a fault."""
    name = members["name"]
    if not NAME.fullmatch(name):
        raise ValueError("an invalid name")
    return Caller(name, _roles(members["roles"]), _routes(members["routes"]), _names(members.get("reads", [])))


def read_expiry(members: dict[str, Any]) -> datetime | None:
    """Return when an entry expires, None for never. Raises TypeError, ValueError for a fault."""
    expires = datetime.fromisoformat(members["expires"]) if members.get("expires") else None
    if expires is not None and expires.tzinfo is None:
        raise ValueError("no time zone")
    return expires


def _roles(names: Sequence[Any]) -> frozenset[Any]:
    if not isinstance(names, list) or not set(names) <= set(ROLES):
        raise ValueError("an unknown role")  # ignoring a misspelt role could hide an intended restriction
    return roles(names)


def _routes(paths: Sequence[Any]) -> tuple[str, ...]:
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ValueError("an invalid route")
    return tuple(paths)


def _names(names: Sequence[Any]) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) and NAME.fullmatch(name) for name in names):
        raise ValueError("an invalid name of a caller")
    return tuple(names)


def dump(entries: Sequence[CallerEntry]) -> bytes:
    """Return the bytes of a file; the inverse of ``parse``."""
    return json.dumps({"version": 1, "callers": [_members(entry) for entry in entries]}, indent=2).encode() + b"\n"


def _members(entry: CallerEntry) -> dict[str, Any]:
    proof = {"sha256": entry.sha256} if entry.sha256 else {"subject": entry.subject}
    return caller_members(entry.caller, entry.expires, proof)


def caller_members(caller: Caller, expires: datetime | None, proof: dict[str, str]) -> dict[str, Any]:
    """Return the members of an entry, with those of its ``proof``."""
    until = {"expires": expires.isoformat()} if expires else {}
    names = [role for role in ROLES if role in caller.roles]
    reads = {"reads": list(caller.reads)} if caller.reads else {}
    return {"name": caller.name, **proof, "roles": names, "routes": list(caller.routes), **reads, **until}


def change(path: Path, edit: Callable[[tuple[CallerEntry, ...]], Sequence[CallerEntry]]) -> None:
    """Rewrite the whole file by a rename, one process at a time; a missing file counts as empty.

    Raises OSError, ValueError for an unreadable file, and what ``edit`` raises.
    """
    rewrite(path, lambda data: dump(edit(parse(data) if data else ())))
