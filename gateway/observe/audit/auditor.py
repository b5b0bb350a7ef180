"""The audit of one process: a record of each outcome into the chain, and from there to its copies."""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.config import Settings
from gateway.errors import Unavailable
from gateway.extras import hint
from gateway.observe.audit.canonical import read_key, read_or_make_key
from gateway.observe.audit.chain import key_path
from gateway.observe.audit.copies import Copies, Destination, OnFailure
from gateway.observe.audit.file import ChainFile
from gateway.observe.audit.records import event_of, record_of
from gateway.observe.outcomes import Outcome

logger = logging.getLogger("gateway")

FILE = "file"
RETRY_SECONDS = 5
"""When a refused caller may try again; a full disk takes longer, a store that restarts does not."""


class Auditor:
    """A Sink: tells the chain of each outcome, and of other events. ``ready`` is asked before a request is admitted.

    A record that the file did not take waits in memory, ``limit`` records at most, and is written before the next one;
    one that is dropped is counted.
    """

    def __init__(
        self,
        file: ChainFile,
        copies: Sequence[Copies] = (),
        *,
        algorithm: str = "sha256",
        required: bool = False,
        limit: int = 10_000,
        on_failure: OnFailure = lambda sink: None,
    ) -> None:
        self._file, self._copies = file, copies
        self._algorithm, self._required, self._on_failure = algorithm, required, on_failure
        self._limit = limit
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._mutex = threading.Lock()
        self._works: bool | None = None

    def __call__(self, outcome: Outcome) -> None:
        """Write the record of an outcome. Never raises: what fails is a warning and a count."""
        self._take(record_of(outcome, self._algorithm))

    def event(self, kind: str, caller: str, **members: str | int | bool) -> None:
        """Write the record of something else that happened now, in counts and digests. Never raises either."""
        self._take(event_of(kind, caller, members, datetime.now(UTC)))

    def _take(self, record: Mapping[str, Any]) -> None:
        with self._mutex:
            if len(self._waiting) < self._limit:
                self._waiting.append(record)
            else:
                self._on_failure(FILE)
            self._flush()

    def probe(self) -> None:
        """Warn now, and not with the first request, where the file cannot be written."""
        with self._mutex:
            self._flush()

    def ready(self) -> None:
        """Return where records can be written, and always where the audit is not required. Raises Unavailable."""
        if not self._required:
            return
        with self._mutex:
            if not self._works:
                self._flush()
            failing = [FILE] if not self._works else [copies.name for copies in self._copies if copies.failing]
        if failing:
            raise Unavailable(
                "This gateway answers nothing that it cannot write to its audit, and cannot write there now.",
                retry_after=RETRY_SECONDS,
                private=f"failing: {', '.join(failing)}",
            )

    def close(self) -> None:
        """Write what waits, as far as that can be done now."""
        with self._mutex:
            if self._waiting:
                self._flush()
            self._file.close()
        for copies in self._copies:
            copies.close()

    def _flush(self) -> None:
        try:
            if not self._waiting:
                self._file.probe()
            while self._waiting:
                sealed = self._file.append(self._waiting[0])
                self._waiting.popleft()
                for copies in self._copies:
                    copies.add(sealed)
        except (OSError, ValueError) as error:
            self._on_failure(FILE)
            self._tell(False, str(error) if isinstance(error, ValueError) else type(error).__name__)
        else:
            self._tell(True, "")

    def _tell(self, works: bool, why: str) -> None:
        """Log when it begins to fail and when it works again, not each time between."""
        if not works and self._works is not False:
            logger.warning("the audit's file takes no records: %s", why)
        if works and self._works is False:
            logger.info("the audit's file takes records again")
        self._works = works


def open_auditor(settings: Settings, on_failure: OnFailure = lambda sink: None) -> Auditor | None:
    """The auditor that the settings ask for, None where they ask for none.

    Raises ValueError for settings that do not go together or a key that is none, OSError for a key that cannot be read
    or made, ImportError naming what to install.
    """
    check(settings)
    if settings.audit_file is None:
        return None
    key = signing_key(settings)
    file = ChainFile(settings.audit_file, key or b"", fsync=settings.audit_fsync)
    copies = [Copies(place, limit=settings.audit_queue, on_failure=on_failure) for place in _places(settings)]
    auditor = Auditor(
        file,
        copies,
        algorithm=settings.digest,
        required=settings.audit_required,
        limit=settings.audit_queue,
        on_failure=on_failure,
    )
    auditor.probe()
    return auditor


def check(settings: Settings) -> None:
    """Raise what ``open_auditor`` would raise of the settings and of a key that is there. Makes and imports nothing."""
    copies = settings.audit_s3 or settings.audit_sql or settings.audit_messages
    if settings.audit_file is None and (settings.audit_required or copies):
        raise ValueError(
            "audit_required, audit_s3, audit_sql and audit_messages need the chain of audit_file (GATEWAY_AUDIT_FILE)."
        )
    path = _key_path(settings)
    if path is not None and path.exists():
        read_key(path)


def signing_key(settings: Settings) -> bytes | None:
    """The key that signs records and receipts, made where it is absent; None without any place for one."""
    path = _key_path(settings)
    return None if path is None else read_or_make_key(path)


def _key_path(settings: Settings) -> Path | None:
    if settings.audit_key_file is None and settings.audit_file is not None:
        return key_path(settings.audit_file)
    return settings.audit_key_file


def _places(settings: Settings) -> list[Destination]:
    places: list[Destination] = []
    if settings.audit_s3:
        _require("boto3", "audit_s3", "s3")
        from gateway.observe.audit.s3 import S3Copies

        places.append(S3Copies(settings.audit_s3))
    if settings.audit_sql:
        _require("sqlalchemy", "audit_sql", "sql")
        from gateway.observe.audit.sql import SQLCopies

        places.append(SQLCopies(settings.audit_sql))
    if settings.audit_messages is not None:
        from gateway.observe.audit.dicom_messages import MessageCopies

        places.append(MessageCopies(settings.audit_messages))
    return places


def _require(module: str, setting: str, extra: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise ImportError(f"{setting} (GATEWAY_{setting.upper()}) needs {module}; {hint(extra)}")
