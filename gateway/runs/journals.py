"""What a model tells the caller of its run: coalesced, bounded, and written by a thread of its own."""

import threading

from gateway.config import MiB
from gateway.errors import StorageFull, Unavailable
from gateway.runs.ledger import Changes, Ledger
from gateway.runs.payloads import Payload, Words, settled
from gateway.runs.rows import LOG, PREVIEW, PROGRESS, row_of, status_of

LINE = 4_096
"""Characters of one line or text."""
LOG_CHARACTERS = 256 * 1024
"""Characters of all lines of an attempt; a model that logs more is told to nobody."""
LOG_RECORDS = 1_000
"""Records of lines of an attempt: those of a quarter of a second make one."""
PREVIEW_BYTES = 32 * MiB
"""Bytes of all previews of an attempt; further ones are dropped."""
TOO_MANY = "Further lines are dropped."


class Journal:
    """The progress and the lines of one attempt, until they are written."""

    def __init__(self, ledger: Ledger, key: str, holder: str, dirty: threading.Event) -> None:
        """``dirty`` is set when there is something to write."""
        self._ledger, self._key, self._holder, self._dirty = ledger, key, holder, dirty
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._progress: Words | None = None
        self._lines: list[str] = []
        self._left, self._records = LOG_CHARACTERS, LOG_RECORDS
        self._previews: list[tuple[Words, bytes]] = []
        self._preview_bytes = PREVIEW_BYTES
        self.muted = False
        """True while lines and previews are those that the caller has seen already."""

    def progress(self, done: float, total: float, text: str) -> None:
        """Note the newest progress; an older one that is not written yet is dropped."""
        with self._lock:
            self._progress = {"done": float(done), "total": float(total), "text": text[:LINE]}
        self._dirty.set()

    def log(self, text: str) -> None:
        """Note a line."""
        with self._lock:
            if self.muted or self._left <= 0 or self._records <= 0:
                return
            line = text[: min(LINE, self._left)]
            self._left -= max(1, len(line))
            self._lines.append(line if self._left > 0 else f"{line}\n{TOO_MANY}")
        self._dirty.set()

    def preview(self, picture: bytes, text: str) -> None:
        """Note a preview, which is a PNG file."""
        with self._lock:
            self._preview_bytes -= 0 if self.muted else len(picture)
            if self.muted or self._preview_bytes < 0:
                return
            self._previews.append(({"media_type": "image/png", "text": text[:LINE]}, picture))
        self._dirty.set()

    def flush(self) -> None:
        """Write what is noted, unless another process has the run now.

        Raises StorageFull and Unavailable; what is not written is noted again.
        """
        with self._writing:
            with self._lock:
                progress, self._progress = self._progress, None
                lines, self._lines = self._lines, []
                previews, self._previews = self._previews, []
            try:
                if lines:
                    self._write(LOG, {"text": "\n".join(lines)})
                    lines, self._records = [], self._records - 1
                while previews:
                    self._write(PREVIEW, *previews[0])
                    del previews[0]
                if progress is not None:
                    self._write(PROGRESS, progress)
            except (StorageFull, Unavailable):
                with self._lock:
                    self._lines[:0] = lines
                    self._previews[:0] = previews
                    self._progress = self._progress or progress
                self._dirty.set()
                raise

    def _write(self, kind: str, data: Words, content: bytes = b"") -> None:
        pieces = [memoryview(content)]
        with settled(self._ledger.store, data, pieces) as payload, self._ledger.changing() as changes:
            row = row_of(changes.connection, self._key)
            if row is not None and status_of(row).held_by(self._holder):
                if content:
                    changes.make_room(row.caller, payload.size)
                self._add(changes, kind, payload)

    def _add(self, changes: Changes, kind: str, payload: Payload) -> None:
        if kind == PROGRESS:
            changes.replace(self._key, kind, payload)
        else:
            changes.record(self._key, kind, payload)
