"""The study as arguments of a model: its Series, and the Volume or the Images in them; all of headers alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydicom import Dataset

from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.classify import split
from gateway.dicom.reading.files import Source
from gateway.dicom.reading.instances import Instance, group_by_series, sort_spatially
from gateway.dicom.reading.raw_values import different
from gateway.dicom.volumes import belonging
from gateway.dicom.volumes.images import Image, Sourced, Volume, image, volume
from gateway.errors import StudyRefused

__all__ = ["Image", "Series", "Study", "Volume", "image", "split", "study", "volume"]


@dataclass(frozen=True, eq=False, repr=False)
class Series(Sourced):
    """The instances of one series in spatial order (``sort_spatially``), with or without images.

    ``header`` is that of the first image, where there is one.
    """

    instances: tuple[Instance, ...]

    @property
    def _first(self) -> Instance:
        return next((instance for instance in self.instances if instance.frames), self.instances[0])

    @property
    def modality(self) -> str:
        """The one that its images state; an image without one contradicts no other."""
        return next(iter(self._stated("Modality")), "")

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Each Series Description that an image states, and "" where there is none; one in a valid series."""
        return tuple(self._stated("SeriesDescription")) or ("",)

    def _stated(self, keyword: str) -> list[str]:
        """The values of an attribute of the series, over its images, else over its other instances."""
        images = [instance for instance in self.instances if instance.frames] or self.instances
        headers = different((instance.header for instance in images), keyword)
        return list(dict.fromkeys(stated for header in headers if (stated := text(header, keyword))))

    def volume(
        self, *, allow_tilt: bool = False, spacing_tolerance: float | None = None, uneven: bool = False
    ) -> Volume:
        """The series as one volume. Raises StudyRefused where it is none, as ``volume``."""
        return volume(self.instances, allow_tilt=allow_tilt, spacing_tolerance=spacing_tolerance, uneven=uneven)

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
        """The Study Description of the first instance; each modality may state its own."""
        return text(self.header, "StudyDescription")

    def __repr__(self) -> str:
        return f"<Study, {len(self.series)} series>"


def study(files: Iterable[Source | Instance]) -> Study:
    """DICOM files, folders of them, or instances that were read before, as one study; other files are left out.

    Raises StudyRefused: a broken file, no instance at all, instances of several studies or patients, a series of
    several modalities; LimitExceeded.
    """
    instances = split(files)[0]
    if not instances:
        raise StudyRefused("The request holds no DICOM instance: send the files of the study.", private="no instance")
    by_series = group_by_series(instances).values()
    series = tuple(Series(tuple(sort_spatially(members))) for members in by_series)
    belonging.check([instance for members in by_series for instance in members])
    return Study(series)
