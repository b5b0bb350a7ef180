"""A process that sends two instances to a store, and is killed by signal 9 at the stage it was told."""

import os
import signal
from pathlib import Path
from typing import Any

from gateway import Settings
from gateway.studies import instance_rows
from gateway.studies.blobs import Incoming
from gateway.studies.folder import FolderBlobs
from gateway.studies.index import Index
from gateway.studies.store import Store
from tests.studies.files import files, upload

STAGES: dict[str, tuple[Any, str, int]] = {
    "before a byte is written": (Incoming, "write", 0),
    "within the first file": (Incoming, "write", 2),
    "between two files": (Incoming, "reader", 1),
    "before they are settled": (FolderBlobs, "settle", 0),
    "before the index is written": (Index, "writing", 0),
    "before the first file is in its place": (FolderBlobs, "place", 0),
    "with the first file in its place": (FolderBlobs, "place", 1),
    "before the index has the files": (instance_rows, "add", 0),
    "before it is said who holds them": (instance_rows, "hold", 0),
}
"""Where the process dies: at the call of a function, after it has been called so many times."""


def die_at(home: Any, name: str, after: int) -> None:
    """Let the process be killed when a function is called once more than ``after`` times."""
    function, calls = getattr(home, name), iter(range(after))

    def deadly(*args: Any, **kwargs: Any) -> Any:
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(home, name, deadly)


def main(folder: str, database_url: str, stage: str) -> None:
    """Open, and die while sending."""
    store = Store.open(Settings(store_folder=Path(folder), database_url=database_url))
    die_at(*STAGES[stage])
    upload(store, "one", files(2))
