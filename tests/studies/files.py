"""Small DICOM files made for the tests of the store, with their entries of a manifest."""

import hashlib
import io
from dataclasses import dataclass

from gateway.studies.manifests import ManifestEntry
from gateway.studies.store import Store
from gateway.studies.uploads import InstanceUpload, OnConflict, UploadOutcome
from tests.dicom.studies import uid
from tests.dicom.volumes.volume_series import slice_at


@dataclass(frozen=True)
class File:
    """A file and its entry in a manifest."""

    entry: ManifestEntry
    data: bytes

    @property
    def words(self) -> dict[str, object]:
        """The entry as JSON."""
        return {name: getattr(self.entry, name) for name in ManifestEntry.__slots__}


def file(
    name: object,
    *,
    series: object = "series",
    study: object = "study",
    note: str = "",
    place: int = 0,
    modality: str = "CT",
) -> File:
    """One slice; another ``note`` makes another file of the same instance."""
    dataset = slice_at(
        (0.0, 0.0, 2.0 * place),
        place,
        SOPInstanceUID=uid("instance", study, series, name),
        SeriesInstanceUID=uid("series", study, series),
        StudyInstanceUID=uid("study", study),
        InstitutionName=note or "none",
        Modality=modality,
    )
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    sop, series, study = (
        str(dataset[tag].value) for tag in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
    )
    return File(ManifestEntry(sop, series, study, len(data), hashlib.sha256(data).hexdigest()), data)


def files(count: int, **options: object) -> list[File]:
    """A series whose files are named from foot to head, in reverse order."""
    return [file(number, place=number, **options) for number in reversed(range(count))]


def upload(store: Store, caller: str, sent: list[File], on_conflict: OnConflict = "fail") -> list[UploadOutcome]:
    """Send one chunk, in pieces."""
    with InstanceUpload(store, caller, on_conflict, [file.entry for file in sent]) as batch:
        for file in sent:
            batch.begin()
            for start in range(0, len(file.data), 1000):
                batch.write(file.data[start : start + 1000])
            batch.end()
        return batch.keep()


def states(store: Store, caller: str, files: list[File]) -> list[str]:
    """The states of the instances, without the digests."""
    return [state for state, _ in store.states(caller, [file.entry for file in files])]
