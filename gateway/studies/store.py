"""The store of one process: its index, its bytes and its rules, opened together and closed together."""

import logging
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from gateway.access import bind
from gateway.config import Settings
from gateway.errors import StudyNotFound
from gateway.studies import instances
from gateway.studies.blobs import Blobs, Incoming, Spoiled
from gateway.studies.folder import FolderBlobs
from gateway.studies.index import Index
from gateway.studies.instances import Held
from gateway.studies.manifests import Entry
from gateway.studies.quarantine import label
from gateway.studies.retention import ORPHAN_SECONDS, Retention, sweep
from gateway.studies.upkeep import SECONDS, Upkeep

logger = logging.getLogger("gateway")

KINDS = ("instances", "results", "bundles")
SPOILED = "A file of this study is not what was kept, and was set aside; send the study again."
DESCRIPTORS = 65_536
"""Open files asked of the system: each instance in use is one, and 1,024 are less than many a study."""


@dataclass(frozen=True)
class Store:
    """What several callers keep here, each within their own rights. Callers go by name, "" where nobody asks.

    ``clock`` gives seconds since 1970.
    """

    settings: Settings
    folder: Path
    index: Index
    blobs: dict[str, Blobs]
    retention: Retention
    upkeep: Upkeep
    clock: Callable[[], float] = time.time

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        authenticated: bool = False,
        clock: Callable[[], float] = time.time,
        upkeep_seconds: float = SECONDS,
    ) -> Self:
        """Open the store in ``settings.store_folder``, made where there is none; sweep what dead processes left.

        Raises ValueError where strangers could reach a store that asks nobody who they are, and for settings that are
        none; ImportError for a missing package; Unavailable where the database does not answer.
        """
        refuse_strangers(settings, authenticated)
        if settings.store_folder is None:
            raise ValueError("store_folder (GATEWAY_STORE_FOLDER) should name a folder.")
        folder = settings.store_folder.absolute()
        for one in (folder, folder / "incoming"):
            one.mkdir(parents=True, exist_ok=True, mode=0o700)
        blobs = {kind: _blobs(settings, folder, kind) for kind in KINDS}
        index = Index(folder, settings.database_url, durable=settings.store_fsync)
        retention = Retention(settings, blobs["instances"], blobs["results"], clock)
        _allow_many_files()
        sweep(index, folder / "incoming", blobs, time.time() - ORPHAN_SECONDS)

        def tidy() -> None:
            with index.writing() as connection:
                retention.tidy(connection)

        tidy()
        return cls(settings, folder, index, blobs, retention, Upkeep(tidy, upkeep_seconds), clock)

    def close(self) -> None:
        """End its upkeep, and close the connections."""
        self.upkeep.stop()
        self.index.close()
        for keeper in self.blobs.values():
            keeper.close()

    def incoming(self) -> Incoming:
        """A new file to receive into. Raises StorageFull."""
        return Incoming(self.folder / "incoming")

    def states(self, caller: str, entries: Sequence[Entry]) -> list[tuple[str, str | None]]:
        """What this caller has sent of a manifest: ``have``, ``missing``, or ``conflict`` with the other digest."""
        with self.index.reading() as connection:
            return instances.states(connection, caller, self.retention.since, entries)

    def open_instances(self, found: Iterable[Held]) -> list[BinaryIO]:
        """The files of instances, each checked against its digest and in use until it is closed.

        One that is gone or has changed is set aside and forgotten, and StudyNotFound is raised.
        """
        files: list[BinaryIO] = []
        try:
            for one in found:
                files.append(self.blobs["instances"].open(one.location, one.sha256))
        except BaseException as error:
            for file in files:
                file.close()
            if not isinstance(error, Spoiled):
                raise
            self.set_aside(one)
            raise StudyNotFound(SPOILED) from None
        return files

    def set_aside(self, one: Held) -> None:
        """Put a spoiled instance where nobody reads it, and let go of its study, which would be whole without it."""
        blobs = self.blobs["instances"]
        with self.index.writing() as connection:
            if instances.located(connection, one.sha256) != one.location:
                return
            try:
                blobs.open(one.location, one.sha256).close()  # sent again meanwhile, perhaps
            except Spoiled:
                blobs.quarantine(one.location, label(one.study_instance_uid))
                instances.drop(connection, one.sha256)
                self.retention.lose(connection, one.study_instance_uid)
                logger.error("a kept instance had changed and was set aside: %s", one.sha256)


def refuse_strangers(settings: Settings, authenticated: bool) -> None:
    """Raise ValueError where a server listens beyond this machine, asks nobody who they are, and was not told to."""
    if bind.addresses() and not bind.is_private() and not authenticated and not settings.allow_anonymous:
        raise ValueError(
            "store_folder is set, and this server listens beyond this machine without asking who calls. Set up "
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
