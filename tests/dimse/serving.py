"""The DICOM network served by a thread of the test, on a free port and an empty store."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from gateway import Settings
from gateway.dimse.destinations import Destinations
from gateway.dimse.known_titles import KnownTitles
from gateway.dimse.listening import Certificates, accept_until, listen
from gateway.dimse.provider import Provider
from gateway.observe.audit.auditor import open_auditor
from gateway.peers.paused_reactor import pause_for_certain
from gateway.studies import instance_rows
from gateway.studies.store import Store
from tests.waiting import PATIENCE

TITLES = """
[ae.CT1]
address = ["127.0.0.0/8", "::1"]
caller = "ct1"
may = ["store", "find", "get", "move"]

[ae.ECHO]
address = ["127.0.0.1"]
caller = "echo"

[ae.READER]
address = ["127.0.0.1"]
caller = "reader"
may = ["find", "get", "move"]
reads = ["ct1"]

[ae.ELSEWHERE]
address = ["192.0.2.0/24"]
caller = "elsewhere"
may = ["store"]
"""


@dataclass
class Serving:
    """A running provider and its port."""

    provider: Provider
    port: int

    @property
    def store(self) -> Store:
        return self.provider.store

    def associate(self, *classes: str, title: str = "CT1", called: str = "GATEWAY", **options: Any) -> Association:
        """Ask for an association with a context for each class; ``options`` are pynetdicom's."""
        contexts = options.pop("contexts", [build_context(one) for one in classes])
        return associate(self.port, contexts, title, called, **options)

    def held(self, caller: str = "ct1") -> list[str]:
        """SOP Instance UIDs that a caller holds."""
        with self.store.index.reading() as connection:
            return [one.sop_instance_uid for one in instance_rows.held(connection, caller, 0.0)]

    @property
    def half_files(self) -> list[str]:
        """Names of files that are being received, or were left behind."""
        return [path.name for path in (self.store.folder / "incoming").iterdir()]


def associate(
    port: int, contexts: list[PresentationContext], title: str, called: str = "GATEWAY", **options: Any
) -> Association:
    """Ask for an association, with patience."""
    entity = AE(title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = PATIENCE
    handlers = [(evt.EVT_CONN_OPEN, pause_for_certain), *options.pop("evt_handlers", ())]
    return entity.associate("127.0.0.1", port, contexts, called, evt_handlers=handlers, **options)


@contextmanager
def serving(
    folder: Path, *, titles: str = TITLES, certificates: Certificates | None = None, **settings: Any
) -> Iterator[Serving]:
    """Serve from a store in ``folder`` until the end of the block."""
    file = folder / "titles.toml"
    file.write_text(titles, encoding="utf-8")
    options = {"store_folder": folder / "store", "dimse_titles_file": file, **settings}
    configured = Settings(**options)
    store = Store.open(configured, authenticated=True)
    auditor = open_auditor(configured)
    provider = Provider(store, "GATEWAY", KnownTitles(file), Destinations(configured.peers), auditor)
    stopped, stop = socket.socketpair()
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    thread = threading.Thread(target=accept_until, args=(stopped, provider, listener, certificates))
    thread.start()
    try:
        yield Serving(provider, port)
    finally:
        stop.send(b"\0")
        thread.join()
        provider.drain(0.0)
        provider.close()
        for one in (stopped, stop):
            one.close()
        if auditor is not None:
            auditor.close()
        store.close()


def store_all(association: Association, datasets: list[Dataset]) -> list[int]:
    """Store datasets; the status of each."""
    return [association.send_c_store(dataset).Status for dataset in datasets]
