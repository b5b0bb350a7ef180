"""The file of callers, each with the digest of a key or the subject of a certificate.

``{"version": 1, "callers": [{"name", "sha256" | "subject", "roles", "routes", "reads", "expires"}]}``, one JSON file
(RFC 8259), mode 0600. No file has a key itself: it has 256 random bits, so one sha256 is as good as a slow hash.
"""

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.access.callers import ROLES, Caller, roles
from gateway.access.reloading_file import MAX_BYTES
from gateway.spool.disk import read_regular

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A caller's name, safe in headers and log lines."""
MEMBERS = frozenset({"name", "sha256", "subject", "roles", "routes", "reads", "expires"})
_DIGEST = re.compile(r"[0-9a-f]{64}")


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
    try:
        file = json.loads(data)
        if file["version"] != 1:
            raise ValueError("it is not of version 1")
        entries = tuple(_numbered(i, entry) for i, entry in enumerate(file["callers"]))
    except (KeyError, TypeError, RecursionError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"The file of callers cannot be read: {type(error).__name__}.") from None
    except ValueError as error:
        raise ValueError(f"The file of callers cannot be read: {error}.") from None
    if len({entry.caller.name for entry in entries}) < len(entries):
        raise ValueError("The file of callers cannot be read: two callers have one name.")
    return entries


def _numbered(number: int, entry: dict[str, Any]) -> CallerEntry:
    try:
        return _entry(entry)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(f"caller {number} has a fault") from None


def _entry(members: dict[str, Any]) -> CallerEntry:
    if unknown := members.keys() - MEMBERS:
        raise ValueError(f"{len(unknown)} unknown members")
    name, sha256, subject = members["name"], members.get("sha256", ""), members.get("subject", "")
    if not NAME.fullmatch(name) or bool(sha256) == bool(subject) or not isinstance(subject, str):
        raise ValueError("neither a key nor a certificate")
    if sha256 and not _DIGEST.fullmatch(sha256):
        raise ValueError("no sha256")
    expires = datetime.fromisoformat(members["expires"]) if members.get("expires") else None
    if expires is not None and expires.tzinfo is None:
        raise ValueError("no time zone")
    caller = Caller(name, _roles(members["roles"]), _routes(members["routes"]), _names(members.get("reads", [])))
    return CallerEntry(caller, sha256, subject, expires)


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
    caller = entry.caller
    proof = {"sha256": entry.sha256} if entry.sha256 else {"subject": entry.subject}
    expires = {"expires": entry.expires.isoformat()} if entry.expires else {}
    names = [role for role in ROLES if role in caller.roles]
    reads = {"reads": list(caller.reads)} if caller.reads else {}
    return {"name": caller.name, **proof, "roles": names, "routes": list(caller.routes), **reads, **expires}


def change(path: Path, edit: Callable[[tuple[CallerEntry, ...]], Sequence[CallerEntry]]) -> None:
    """Rewrite the whole file by a rename, one process at a time; a missing file counts as empty.

    Raises OSError, ValueError for an unreadable file, and what ``edit`` raises.
    """
    with _only_one(path.parent):
        entries = parse(read_regular(path, MAX_BYTES)) if path.exists() else ()
        _replace(path, dump(edit(entries)))


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Lock the folder (flock(2)): the file itself is replaced, and a lock on it would stay with the old one."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _replace(path: Path, data: bytes) -> None:
    try:
        handle, name = tempfile.mkstemp(prefix=".callers-", dir=path.parent)  # has mode 0600 from the start
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with os.fdopen(handle, "wb") as file:
            if path.exists() and os.geteuid() == 0:
                os.fchown(file.fileno(), (was := path.stat()).st_uid, was.st_gid)  # the server can still read the file
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
