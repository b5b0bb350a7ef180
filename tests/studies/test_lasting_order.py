"""What is on the disk when the sender of an instance is told that it is stored."""

import os
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from gateway.studies.arrival_rows import Sender
from gateway.studies.arriving import Arrived, Arriving
from gateway.studies.store import Store
from tests.studies.conftest import OpenStore, blobs
from tests.studies.files import file


class Watched:
    """The syncs that have returned and the commits that have begun, in their order, in all threads begun within."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __enter__(self) -> list[str]:
        threading.setprofile(self._see)
        sys.setprofile(self._see)
        return self.events

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _see(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_return" and called is os.fsync:
            self.events.append(str(Path(f"/proc/self/fd/{frame.f_locals['descriptor']}").readlink()))
        elif event == "call" and frame.f_code.co_name == "do_commit":
            self.events.append("commit")


def arrive(store: Store) -> None:
    sent = file("one")
    with store.incoming() as incoming:
        incoming.write(sent.data)
        assert Arriving(store).keep(Arrived(Sender("a" * 32, "SENDER", "one"), incoming, sent.entry, None))


def test_bytes_and_their_name_are_on_the_disk_before_the_row_that_names_them(open_store: OpenStore) -> None:
    store = open_store(store_fsync=True)
    with Watched() as events:
        arrive(store)
    (path,) = blobs(store)
    assert set(events[: events.index("commit")]) >= {str(path), str(path.parent)}


def test_a_store_that_need_not_wait_for_the_disk_does_not(open_store: OpenStore) -> None:
    store = open_store()
    with Watched() as events:
        arrive(store)
    assert events == ["commit"]
