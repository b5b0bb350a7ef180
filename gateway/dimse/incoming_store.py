"""C-STORE: a data set goes to the disk as it arrives, and is stored once all of it is there (PS3.4 B.2.3)."""

from typing import NamedTuple

from gateway.dicom.web.instance_attributes import AttributeReader, InstanceAttributes, WholeIdentity, read_identity
from gateway.dicom.writing.part10 import file_head
from gateway.dimse.commands import Command, CommandElement
from gateway.dimse.negotiation import AcceptedContext
from gateway.errors import GatewayError, LimitExceeded, StorageFull, StudyRefused
from gateway.studies.arrival_rows import Sender
from gateway.studies.arriving import Arrived, Arriving
from gateway.studies.blobs import Incoming
from gateway.studies.manifests import ManifestEntry, is_uid
from gateway.studies.store import Store


class StoreStatus(NamedTuple):
    """The status of a response, its comment, and a word for metrics."""

    code: int
    comment: str
    why: str


STORED = StoreStatus(0x0000, "", "stored")
FULL = StoreStatus(0xA700, "The store is full; send it again later", "full")
BUSY = StoreStatus(0xA700, "The store does not answer; send it again later", "unavailable")
TOO_LARGE = StoreStatus(0xA700, "The instance is larger than max_body_bytes", "too-large")
DUPLICATE = StoreStatus(0x0111, "Another file of this SOP Instance UID is stored", "conflict")
WRONG_CLASS = StoreStatus(0x0122, "The SOP class is not that of the context", "wrong-class")
INVALID_UID = StoreStatus(0x0117, "The SOP Instance UID is not valid (PS3.5 9.1)", "invalid-uid")
OTHER_CLASS = StoreStatus(0xA900, "The data set is of another SOP class than the command", "mismatch")
OTHER_INSTANCE = StoreStatus(0xC000, "The data set has another SOP Instance UID", "mismatch")
UNREADABLE = StoreStatus(0xC000, "The data set cannot be read", "unreadable")
NO_UIDS = StoreStatus(0xC000, "A UID of study or series is missing or not valid", "invalid-uid")
CUT_OFF = StoreStatus(0xC000, "The pixel data are cut off", "cut-off")


class IncomingStore:
    """One C-STORE-RQ while its data set arrives; ``finish`` or ``discard`` ends it."""

    def __init__(self, store: Store, command: Command, context: AcceptedContext) -> None:
        self._store = store
        self._class, self._instance = command.text(CommandElement.SOP_CLASS), command.text(CommandElement.SOP_INSTANCE)
        self._file: Incoming | None = None
        self.refusal = self._first_refusal(context)
        if self.refusal is None:
            self._begin(context)

    def _first_refusal(self, context: AcceptedContext) -> StoreStatus | None:
        if not is_uid(self._instance):
            return INVALID_UID
        return WRONG_CLASS if self._class != context.abstract_syntax else None

    def _begin(self, context: AcceptedContext) -> None:
        try:
            self._file = self._store.incoming()
            self._file.write(file_head(self._class, self._instance, context.transfer_syntax))
        except GatewayError as error:
            self._refuse(_status_of(error))

    @property
    def size(self) -> int:
        """Bytes that have been written."""
        return self._file.size if self._file is not None else 0

    def write(self, data: memoryview) -> None:
        """More of the data set; what is refused already is read and dropped, since the peer sends it to its end."""
        if self._file is None:
            return
        if self._file.size + len(data) > self._store.settings.max_body_bytes:
            self._refuse(TOO_LARGE)
            return
        try:
            self._file.write(data)
        except GatewayError as error:
            self._refuse(_status_of(error))

    def finish(self, arriving: Arriving, sender: Sender, reader: AttributeReader) -> tuple[StoreStatus, str]:
        """Check and store what has arrived; its status, and its Study Instance UID, "" for one that was not read."""
        if self._file is None:
            assert self.refusal is not None
            return self.refusal, ""
        try:
            identity, attributes = self._read(reader)
            status, entry = self._judge(identity)
            if entry is None:
                return status, ""
            kept = arriving.keep(Arrived(sender, self._file, entry, attributes))
            return STORED if kept else DUPLICATE, entry.study_instance_uid
        except (StudyRefused, LimitExceeded):
            return UNREADABLE, ""
        except GatewayError as error:
            return _status_of(error), ""
        finally:
            self.discard()

    def _read(self, reader: AttributeReader) -> tuple[WholeIdentity, InstanceAttributes | None]:
        """Read the header, with the attributes of queries where these are answered."""
        assert self._file is not None
        with self._file.reader() as opened:
            if not self._store.settings.dicomweb:
                return read_identity(opened), None
            attributes = reader.read(opened)
            return attributes.identity, attributes

    def _judge(self, identity: WholeIdentity) -> tuple[StoreStatus, ManifestEntry | None]:
        assert self._file is not None
        sop_class, sop, series, study, complete = identity
        if sop_class != self._class:
            return OTHER_CLASS, None
        if sop != self._instance:
            return OTHER_INSTANCE, None
        if not is_uid(series) or not is_uid(study):
            return NO_UIDS, None
        if not complete:
            return CUT_OFF, None
        return STORED, ManifestEntry(sop, series, study, self._file.size, self._file.sha256)

    def _refuse(self, status: StoreStatus) -> None:
        self.refusal = status
        self.discard()

    def discard(self) -> None:
        """Remove the file, unless it is stored."""
        if self._file is not None:
            self._file.discard()
            self._file = None


def _status_of(error: GatewayError) -> StoreStatus:
    """Return the status for a store that does not take the instance now."""
    return FULL if isinstance(error, StorageFull) else BUSY
