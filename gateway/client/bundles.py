"""Files of a model, such as weights, pushed to or pulled from a gateway: data only, and only what differs."""

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from gateway.client.catalog import safe
from gateway.client.errors import AnswerCorrupt, SourceUnreadable, one_line
from gateway.client.hashes import HashCache
from gateway.client.local_files import absolute
from gateway.client.parallel import Tally
from gateway.client.scanning import Digests
from gateway.client.study_upload import entries_of
from gateway.client.transport import Transport
from gateway.client.upload_body import PIECE, ChunkBody, OnProgress
from gateway.contract.brief import Brief

CHUNK_FILES, CHUNK_BYTES = 16, 256 << 20
"""Files of one request, and bytes after which it is full: a chunk is stored whole or not at all, so that this much
is sent twice at most after a failure; a larger file travels alone."""

LONGEST_KEY, LONGEST_NAME = 512, 255
"""Bytes of a key, and of each name in it."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\:]")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows reserves for devices, with any extension."""

_PARTIAL = ".gateway-"
"""Prefix of a file until it is complete and checked."""

LEFT_SECONDS = 3600.0
"""Seconds without a write to such a file after which its process must have died: twice the wait for a server."""


@dataclass(frozen=True)
class BundleItem:
    """A file of a bundle: its ``key`` is its path below the folder, ``mtime`` is in seconds since 1970."""

    key: str
    sha256: str
    size: int
    mtime: float

    @property
    def words(self) -> dict[str, Any]:
        """Return its entry in a manifest."""
        return {"key": self.key, "sha256": self.sha256, "size": self.size, "mtime": self.mtime}


@dataclass(frozen=True, repr=False)
class Moved(Brief):
    """A synchronized bundle. ``moved`` names the transferred files, ``bytes_moved`` is their size.

    ``removed`` names those that a push removed from the gateway's bundle.
    """

    _shown = frozenset({"name"})

    name: str
    files: int
    moved: tuple[str, ...]
    bytes_moved: int
    removed: tuple[str, ...] = ()

    @property
    def words(self) -> dict[str, Any]:
        """Return the result for a script."""
        return {
            "bundle": self.name,
            "files": self.files,
            "moved": list(self.moved),
            "bytes_moved": self.bytes_moved,
            "removed": list(self.removed),
        }


def push(transport: Transport, name: str, folder: Path, cache: HashCache, progress: OnProgress | None) -> Moved:
    """Make a gateway's bundle equal to ``folder``. Raises SourceUnreadable, ClientError."""
    route = f"/bundles/{safe(name)}"
    files = {file.key: file for file in _files(folder, cache)}
    if not files:
        raise SourceUnreadable(f"There is no file in {folder}.")
    data = json.dumps([file.words for file in files.values()]).encode()
    answer = transport.json("POST", f"{route}/manifest", body=lambda: _json(data))
    missing = [files[key] for key in _keys(answer, "missing") if key in files]
    extra = [str(entry.get("key", "")) for entry in entries_of(answer, "extra")]
    tally = Tally(sum(file.size for file in missing), progress)
    for chunk in _chunks(missing):
        _send(transport, f"{route}/files", folder, chunk, [], tally)
    if extra:  # last, so that a bundle that is cut off half way has too much rather than too little
        _send(transport, f"{route}/files", folder, [], extra, tally)
    return Moved(name, len(files), tuple(file.key for file in missing), tally.total, tuple(extra))


def pull(transport: Transport, name: str, folder: Path, cache: HashCache, progress: OnProgress | None) -> Moved:
    """Download a gateway's bundle below ``folder``. Raises AnswerCorrupt, ClientError, OSError."""
    route = f"/bundles/{safe(name)}"
    files = [_stated(entry) for entry in entries_of(transport.json("GET", route), "files")]
    _refuse_twins(files)
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    present = {file.key: file.sha256 for file in _files(folder, cache)}
    wanted = [file for file in files if present.get(file.key) != file.sha256]
    tally = Tally(sum(file.size for file in wanted), progress)
    for file in wanted:
        transport.retried(partial(_fetch, transport, route, file, _target(folder, file.key), tally))
    return Moved(name, len(files), tuple(file.key for file in wanted), tally.total)


def _files(folder: Path, cache: HashCache) -> Iterator[BundleItem]:
    """Return every file below a folder, hashed unless cached. A link is followed to a file, never to a folder."""
    if not folder.is_dir():
        raise SourceUnreadable(f"{folder} is not a folder.")
    paths = absolute(sorted(_below(folder)))
    for key, known in sorted(Digests(paths, cache, dicom=False)):
        path = paths[key]
        yield BundleItem(_key(path, folder), known.sha256, known.stat.size, known.stat.mtime_ns / 1e9)


def _key(path: Path, folder: Path) -> str:
    key = path.relative_to(folder).as_posix()
    if not key.isprintable():  # neither are bytes that the locale cannot read
        raise SourceUnreadable(f"{key} cannot be the name of a file in a bundle; rename it, or set LC_ALL=C.UTF-8.")
    return key


def _below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (
            Path(place, name) for name in names if not name.startswith(_PARTIAL) and Path(place, name).is_file()
        )


def _json(data: bytes) -> dict[str, Any]:
    return {"data": data, "headers": {"Content-Type": "application/json"}}


def _keys(answer: Any, member: str) -> list[str]:
    keys = answer.get(member) if isinstance(answer, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise AnswerCorrupt(f"The server's answer has no list of {member}.")
    return keys


def _chunks(files: Sequence[BundleItem]) -> Iterator[list[BundleItem]]:
    """Yield files in their order, few and small enough for one request; at least one."""
    chunk: list[BundleItem] = []
    for file in files:
        if chunk and (len(chunk) == CHUNK_FILES or sum(one.size for one in chunk) + file.size > CHUNK_BYTES):
            yield chunk
            chunk = []
        chunk.append(file)
    if chunk:
        yield chunk


def _send(
    transport: Transport, route: str, folder: Path, files: list[BundleItem], remove: list[str], tally: Tally
) -> None:
    words = {"files": [file.words for file in files], "remove": remove}
    sources, size = [folder / file.key for file in files], sum(file.size for file in files)
    chunk = ChunkBody(words, "application/octet-stream", sources, size, tally)
    transport.json("POST", route, body=chunk.body)


def _stated(entry: dict[str, Any]) -> BundleItem:
    """Return an entry of a server, which may be hostile."""
    key, sha256, size, mtime = (entry.get(name) for name in ("key", "sha256", "size", "mtime"))
    whole = isinstance(key, str) and isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256)
    if not whole or type(size) is not int or size < 0 or not _is_time(mtime):
        raise AnswerCorrupt("The server's list of files is malformed.")
    if not is_safe(str(key)):
        raise AnswerCorrupt(f"The server names a file {one_line(str(key))}, which is not a safe name below a folder.")
    return BundleItem(str(key), str(sha256), size, float(mtime or 0))


def _is_time(mtime: Any) -> bool:
    """Return True for seconds that a file system can store: until the year 2242."""
    return type(mtime) in (int, float) and 0 <= mtime < 1 << 33


def is_safe(key: str) -> bool:
    """Return True if a key is a relative path of plain names, on any system (docs/studies.md, Bundles)."""
    names = key.split("/")
    fits = 0 < len(key.encode("utf-8", "surrogatepass")) <= LONGEST_KEY and not _UNSAFE.search(key)
    return fits and all(_is_plain(name) for name in names)


def _is_plain(name: str) -> bool:
    short = 0 < len(name.encode("utf-8", "surrogatepass")) <= LONGEST_NAME
    return short and name[-1] not in ". " and not _DEVICE.fullmatch(name) and not name.startswith(_PARTIAL)


def _refuse_twins(files: Sequence[BundleItem]) -> None:
    """Refuse two keys that are one file where a file system ignores case."""
    for _, group in groupby(sorted(file.key.casefold() for file in files)):
        if len(list(group)) > 1:
            raise AnswerCorrupt("The server names two files that differ in case alone.")


def _sweep(folder: Path) -> None:
    """Remove temporary files of processes that died."""
    for path in folder.rglob(f"{_PARTIAL}*"):
        with suppress(OSError):
            if path.is_file() and path.stat().st_mtime < time.time() - LEFT_SECONDS:
                path.unlink()


def _target(folder: Path, key: str) -> Path:
    """Return the path of a file; no link on the way may lead out of the folder. Raises AnswerCorrupt."""
    target = folder.joinpath(*PurePosixPath(key).parts)
    if not target.parent.resolve().is_relative_to(folder.resolve()) or target.is_dir():
        raise AnswerCorrupt(f"{one_line(key)} would not lie in the folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _fetch(transport: Transport, route: str, file: BundleItem, target: Path, tally: Tally) -> None:
    """Download a file, check it, then rename it: under its own name it is always complete."""
    unfinished, digest, size = target.with_name(_PARTIAL + secrets.token_hex(8)), hashlib.sha256(), 0
    try:
        with transport.response("GET", f"{route}/files/{file.sha256}") as response, unfinished.open("xb") as out:
            for piece in response.iter_content(PIECE):
                digest.update(piece)
                out.write(piece)
                size += len(piece)
                tally.add(len(piece))
                if size > file.size:
                    break
            out.flush()
            os.fsync(out.fileno())
        if (size, digest.hexdigest()) != (file.size, file.sha256):
            raise AnswerCorrupt(f"{one_line(file.key)} has other bytes than its digest says.")
        os.utime(unfinished, (file.mtime, file.mtime))
        unfinished.replace(target)
    except BaseException:
        tally.add(-size)
        with suppress(OSError):
            unfinished.unlink()
        raise
