"""The store of one process: its index, its bytes and its rules, opened together and closed together."""

import logging
import resource
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self

from gateway.access import listeners
from gateway.config import Settings
from gateway.errors import GatewayError, StudyNotFound
from gateway.spool.disk import make_private
from gateway.studies import instance_rows
from gateway.studies.blobs import Blobs, Incoming, Spoiled, quarantine_label
from gateway.studies.folder import FolderBlobs
from gateway.studies.index import Index
from gateway.studies.instance_rows import HeldInstance
from gateway.studies.manifests import ManifestEntry
from gateway.studies.retention import ORPHAN_SECONDS, Retention, sweep

SECONDS = 3600.0
"""Between two turns: what is too old is out of sight at once, and off the disk an hour later at most."""


class PeriodicTask:
    """A thread that works every so many seconds until it is stopped."""

    def __init__(self, work: Callable[[], None], seconds: float = SECONDS) -> None:
        self._work, self._seconds = work, seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, once what it does now is done."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._work()
            except GatewayError as error:  # the next turn comes
                logger.warning("the study store was not looked after: %s %s", error.code, error.private)


logger = logging.getLogger("gateway")

KINDS = ("instances", "results", "bundles", "runs", "sessions")
SPOILED = "A stored file of this study has changed and is in quarantine; send the study again."
DISK_THREADS = 16
"""Waits for the disk at once: it commits those of many files together."""
DESCRIPTORS = 65_536
"""Open files asked of the system: each instance in use is one, and 1,024 are less than many a study."""


@dataclass(frozen=True)
class Store:
    """The instances, results and bundles of several callers, each within its own rights. An anonymous caller has the
    name "".

    ``clock`` gives seconds since 1970, by default the index's.
    """

    settings: Settings
    folder: Path
    index: Index
    blobs: dict[str, Blobs]
    retention: Retention
    upkeep: PeriodicTask
    clock: Callable[[], float]
    disk: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, DISK_THREADS, "store-disk"))
    """Threads that wait for the disk, begun when they are needed."""

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        authenticated: bool = False,
        clock: Callable[[], float] | None = None,
        upkeep_seconds: float = SECONDS,
    ) -> Self:
        """Open the store in ``settings.store_folder``, made where there is none; sweep what dead processes left.

        Raises ValueError where strangers could reach a store that authenticates no caller, and for settings that are
        none; ImportError for a missing package; Unavailable where the database does not answer.
        """
        refuse_strangers(settings, authenticated)
        if settings.store_folder is None:
            raise ValueError("store_folder (GATEWAY_STORE_FOLDER) should name a folder.")
        folder = settings.store_folder.absolute()
        make_private(folder / "incoming")
        blobs = {kind: _blobs(settings, folder, kind) for kind in KINDS}
        index = Index(folder, settings.database_url, durable=settings.store_fsync)
        clock = clock or index.now
        retention = Retention(settings, blobs, clock)
        _allow_many_files()
        sweep(index, folder / "incoming", blobs, time.time() - ORPHAN_SECONDS)

        def tidy() -> None:
            with index.writing() as connection:
                retention.tidy(connection)

        tidy()
        return cls(settings, folder, index, blobs, retention, PeriodicTask(tidy, upkeep_seconds), clock)

    def close(self) -> None:
        """End its upkeep, and close the connections."""
        self.upkeep.stop()
        self.disk.shutdown()
        self.index.close()
        for keeper in self.blobs.values():
            keeper.close()

    def incoming(self, *, hashed: bool = True) -> Incoming:
        """A new file to receive into, ``hashed`` as it is written. Raises StorageFull."""
        return Incoming(self.folder / "incoming", hashed=hashed)

    def states(self, caller: str, entries: Sequence[ManifestEntry]) -> list[tuple[str, str | None]]:
        """Return the state of each entry of a manifest for this caller: ``present``, ``missing``, or ``conflict`` with
        the other digest.
        """
        with self.index.reading() as connection:
            return instance_rows.states(connection, caller, self.retention.since, entries)

    def open_instances(self, instances: Iterable[HeldInstance], *, unchanged: bool = False) -> list[BinaryIO]:
        """The files of instances, each checked against its digest and in use until it is closed.

        ``unchanged`` accepts files that were checked lately and have not changed since.
        One that is gone or has changed is set aside and forgotten, and StudyNotFound is raised.
        """
        files: list[BinaryIO] = []
        try:
            for instance in instances:
                place = instance.location, instance.sha256, instance.size
                files.append(self.blobs["instances"].open(*place, unchanged=unchanged))
        except BaseException as error:
            for file in files:
                file.close()
            if not isinstance(error, Spoiled):
                raise
            self.set_aside(instance)
            raise StudyNotFound(SPOILED) from None
        return files

    def set_aside(self, instance: HeldInstance) -> None:
        """Move a spoiled instance to quarantine, and release its study, which would look whole without it."""
        blobs = self.blobs["instances"]
        with self.index.writing() as connection:
            if instance_rows.located(connection, instance.sha256) != instance.location:
                return
            try:
                blobs.open(instance.location, instance.sha256, instance.size).close()  # sent again meanwhile, perhaps
            except Spoiled:
                blobs.quarantine(instance.location, quarantine_label(instance.study_instance_uid))
                instance_rows.drop(connection, instance.sha256)
                self.retention.lose(connection, instance.study_instance_uid)
                logger.error("a stored instance had changed and is in quarantine: %s", instance.sha256)


def refuse_strangers(settings: Settings, authenticated: bool) -> None:
    """Raise ValueError where a server listens beyond this machine, authenticates no caller, and was not told to."""
    if listeners.addresses() and not listeners.is_private() and not authenticated and not settings.allow_anonymous:
        raise ValueError(
            "store_folder is set, and this server listens beyond this machine without authentication. Set up "
            "authentication, listen on 127.0.0.1, or allow it by allow_anonymous (GATEWAY_ALLOW_ANONYMOUS)."
        )


def _blobs(settings: Settings, folder: Path, kind: str) -> Blobs:
    if not settings.store_bucket:
        return FolderBlobs(folder / kind, durable=settings.store_fsync)
    from gateway.studies.bucket import BucketBlobs

    return BucketBlobs(settings.store_bucket, kind, folder / "incoming")


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
