"""What a model is given: a Study, its Series, and the Volume or the Images in them; all of headers alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from gateway.dicom.reading.attributes import text, unreadable
from gateway.dicom.reading.encoded import different, distinct
from gateway.dicom.reading.files import Source
from gateway.dicom.reading.instances import Instance, group_by_series, sort_spatially
from gateway.dicom.reading.naming import naming
from gateway.dicom.reading.receipt import split
from gateway.dicom.volumes.images import Image, Sourced, Volume, image, volume
from gateway.errors import StudyRefused

__all__ = ["Image", "Series", "Study", "Volume", "image", "split", "study", "volume"]


@dataclass(frozen=True, eq=False, repr=False)
class Series(Sourced):
    """The instances of one series in spatial order (``sort_spatially``), with or without images."""

    instances: tuple[Instance, ...]

    @property
    def _first(self) -> Instance:
        return self.instances[0]

    def volume(self, *, allow_tilt: bool = False) -> Volume:
        """The series as one volume. Raises StudyRefused where it is none, as ``volume``."""
        return volume(self.instances, allow_tilt=allow_tilt)

    def __repr__(self) -> str:
        return f"<Series {self.modality}, {len(self.instances)} instances>"


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """The series of one study, in the order in which they came."""

    series: tuple[Series, ...]

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All instances, series by series."""
        return tuple(instance for series in self.series for instance in series.instances)

    @property
    def header(self) -> Dataset:
        """The dataset of the first instance, without pixels."""
        return self.series[0].header

    @property
    def study_instance_uid(self) -> str:
        return self.series[0].study_instance_uid

    @property
    def description(self) -> str:
        """The Study Description."""
        return text(self.header, "StudyDescription")

    def __repr__(self) -> str:
        return f"<Study, {len(self.series)} series>"


def study(files: Iterable[Source | Instance]) -> Study:
    """DICOM files, folders of them, or instances that were read before, as one study; other files are left out.

    Raises StudyRefused: a broken file, no instance at all, instances of several studies or patients, a series of
    several modalities; LimitExceeded.
    """
    found = group_by_series(split(files)[0])
    if not found:
        raise StudyRefused("The request holds no DICOM instance.")
    series = tuple(Series(tuple(sort_spatially(instances))) for instances in found.values())
    instances = [one for instances in found.values() for one in instances]
    studies = distinct((one.header for one in instances), "StudyInstanceUID")
    if studies > 1:
        raise StudyRefused(f"The instances belong to {studies} studies; one is needed.")
    _refuse_others(instances, "PatientID")
    for one in series:
        _refuse_others(one.instances, "Modality")
    return Study(series)


def _refuse_others(instances: Sequence[Instance], keyword: str) -> None:
    """Refuse an instance whose value of a shared attribute is not that of the first; an empty one is no other value."""
    sources = {id(one.header): one.source for one in instances}
    first = ""
    for header in different((one.header for one in instances), keyword):
        stated = text(header, keyword)
        first = first or stated
        if stated and stated != first:
            with naming(sources[id(header)]):
                raise unreadable(keyword, "differs from that of the other instances")
