"""``application/zip`` -> a request: the files of a folder, and parameters from the query.

The archive lies in the spool, and its files go to the spool of the request: a name in it only sorts them, and reaches
no file system. Before an entry is read, all are counted by the signature that each has, whatever the archive states.
"""

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from gateway.errors import BrokenBody, LimitExceeded, UnsupportedMedia
from gateway.intake.admission import decoded_bytes
from gateway.intake.body import READ_SIZE, Body
from gateway.intake.receiving import Received, ReceiveOptions, RequestReader
from gateway.intake.text_fields import Fields
from gateway.spool.parts import PartFile, Spool

ENTRY = re.compile(rb"PK\x01\x02")
"""The signature of an entry in the central directory (APPNOTE 4.3.12)."""
ENCRYPTED = 0x1
"""The bit of an entry's flags (APPNOTE 4.4.4)."""
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Compression that is read: that of others may take gigabytes of memory, as a dictionary of LZMA."""
LITTER = re.compile(
    r"(?:.*/)?(?:\.(?!\.?(?:/|$))[^/]*|__MACOSX|thumbs\.db|desktop\.ini|dicomdir)(?:/.*)?", re.IGNORECASE
)
"""Files and folders that systems add to folders, and the table of contents of a medium (PS3.10 8.6)."""
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)
"""What ``zipfile`` raises for archives that are broken, encrypted or of a later version."""


def receive_zip(body: Body, options: dict[str, str], receive_options: ReceiveOptions) -> Received:
    """Read an archive, and the parameters of the query. Raises as ``receive_archive``, and ParameterRefused."""
    text = Fields(receive_options.settings, receive_options.lists, body.query).text()
    return receive_archive(body, text, receive_options)


def receive_archive(body: Body, text: bytes, receive_options: ReceiveOptions) -> Received:
    """Read an archive, its files in the order of their names; ``text`` is the JSON of the request.

    Raises BrokenBody, LimitExceeded (``max_parts`` entries; ``max_body_bytes`` and ``max_decoded_bytes`` unpacked),
    UnsupportedMedia for encrypted and nested archives, DeadlineExceeded, StorageFull, Unavailable.
    """
    with _received(body, receive_options) as file, _opened(file) as archive:
        entries = _entries(archive)
        budget = UnpackingBudget(receive_options, len(file))
        with RequestReader(receive_options, budget.expected(entries)) as reader:
            reader.begin(text)
            for entry in entries:
                for piece in _unpacked(archive, entry):
                    budget.take(len(piece))
                    with receive_options.ticket.turn(piece):
                        reader.write(piece)
                reader.end_part()
            return reader.received_with(text)


@contextmanager
def _received(body: Body, receive_options: ReceiveOptions) -> Iterator[PartFile]:
    """The archive, once all of it is received. Raises LimitExceeded for one of too many entries."""
    settings = receive_options.settings
    spool = Spool(threshold=settings.spool_threshold, folder=settings.spool_folder, expected=body.length)
    for piece in body.pieces:
        spool.write(memoryview(piece))
    spool.end_part()
    (file,) = spool.parts()
    most = settings.max_parts
    with file:
        if sum(1 for _ in islice(ENTRY.finditer(file.getbuffer()), most + 1)) > most:
            raise LimitExceeded("max_parts", most, "entries", what="The archive")
        yield file


def _opened(file: PartFile) -> zipfile.ZipFile:
    with _reading():
        return zipfile.ZipFile(file)


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    missing = entry.file_size
    with _reading():
        unpacked = archive.open(entry)
    with unpacked:
        while True:
            with _reading():
                piece = unpacked.read(READ_SIZE)
            if not piece:
                break
            missing -= len(piece)
            yield piece
    if missing:
        raise BrokenBody("A file of the archive has another size than the archive states; pack it again.")


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise BrokenBody("The archive cannot be read; pack it again.", private=type(error).__name__) from error


def _entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of an archive that are read, by name."""
    entries = [one for one in archive.infolist() if not one.is_dir() and not LITTER.fullmatch(one.filename)]
    if not entries:
        raise BrokenBody("The archive has no file.")
    if Counter(one.filename for one in entries).most_common(1)[0][1] > 1:
        raise BrokenBody("The archive has two files of one name; pack it again.")
    if any(one.flag_bits & ENCRYPTED for one in entries):
        raise UnsupportedMedia("The archive is encrypted; send it without a password, over TLS.")
    if any(one.compress_type not in METHODS for one in entries):
        raise UnsupportedMedia("The archive is compressed by another method than deflate; pack it as an ordinary zip.")
    if any(one.filename.lower().endswith(".zip") for one in entries):
        raise UnsupportedMedia("The archive holds an archive; send its files in one archive.")
    return sorted(entries, key=lambda one: one.filename)


class UnpackingBudget:
    """The bytes that the files of one archive, or a compressed file, may have unpacked."""

    def __init__(self, receive_options: ReceiveOptions, size: int) -> None:
        self._options, self._left = receive_options, 0
        settings = receive_options.settings
        decoded = decoded_bytes(settings, size)
        named = {"max_body_bytes": settings.max_body_bytes, "max_decoded_bytes": decoded}
        self._name, self._most = min(named.items(), key=lambda item: item[1])
        self._left = self._most

    def expected(self, entries: list[zipfile.ZipInfo]) -> int:
        """Return the bytes that the archive states. Raises LimitExceeded."""
        stated = sum(one.file_size for one in entries)
        if stated > self._most:
            self._refuse()
        return stated

    def take(self, count: int) -> None:
        """Count unpacked bytes. Raises LimitExceeded, DeadlineExceeded, Unavailable, StorageFull."""
        self._left -= count
        if self._left < 0:
            self._refuse()
        self._options.check()
        self._options.ticket.receive(count)

    def _refuse(self) -> None:
        raise LimitExceeded(self._name, self._most, what="The archive, unpacked,")
