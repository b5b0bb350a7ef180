"""The instances of a study: read by their headers, grouped by series, ordered by where they lie in the patient."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom import Dataset

from gateway.contract.brief import Brief
from gateway.dicom.reading import fast_headers, frame_counts, mosaic, raw_values
from gateway.dicom.reading.attributes import Vector, functional_group, ordinal, tag, text, unreadable
from gateway.dicom.reading.elements import Element, Uncommon
from gateway.dicom.reading.files import NotAnInstance, Source, find_files, opened, read_header, refusing
from gateway.dicom.reading.geometry import is_orthonormal, normal
from gateway.dicom.reading.holes import File, Hole, find_holes, head_of, refuse
from gateway.dicom.reading.no_header import NoHeader
from gateway.dicom.reading.redaction import naming
from gateway.errors import LimitExceeded, StudyRefused

SAME_POSITION_MM = 0.01
"""Two images closer than this along the normal lie at one position; scanners repeat a position to about 1e-4 mm."""

SAME_DIRECTION = 1e-3
"""Direction cosines that differ by less belong to one stack of slices."""

MAX_FRAMES = 100_000
"""Frames of one instance: an angiography has some thousand. A header may state any number."""

MAX_STACKS = 1_000
"""Orientations of a series that are told apart, each by a look at all that are left; rotating ones have hundreds."""

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


@dataclass(frozen=True, eq=False, repr=False)
class Instance(Brief):
    """A DICOM file by its header.

    ``position`` is the centre of the first pixel in patient coordinates, (3,) mm LPS; ``orientation`` the direction
    cosines of a row, then of a column, (6,) (PS3.3 C.7.6.2.1.1); those of the first frame where there are several.
    Both are None when absent; directions that are not orthonormal count as absent, as does the position of a mosaic.

    ``rows``, ``columns`` and ``frames`` are 0 for an object without an image.
    ``time_point`` counts from 0. ``header`` is the dataset without its pixels; ``pixels`` where these lie, if known.
    """

    source: Source
    header: Dataset
    sop_instance_uid: str
    series_instance_uid: str
    position: Vector | None
    orientation: Vector | None
    instance_number: int | None
    rows: int
    columns: int
    frames: int
    time_point: int = 0
    pixels: Element | None = None


def read_instance(source: Source) -> Instance:
    """Read one DICOM file up to its pixels.

    Raises NotAnInstance (also for a DICOMDIR), LimitExceeded, and StudyRefused, which names the file by its digest.
    """
    with opened(source) as file, naming(source), refusing("A DICOM header is broken and cannot be read."):
        header, pixels = _read(file)
        return describe(source, header, pixels, file.seek(0, os.SEEK_END))


def header_of(source: Source) -> Dataset:
    """Return the header of one DICOM file, whatever it states. Raises as ``read_instance``, but for no statement."""
    with opened(source) as file, naming(source), refusing("A DICOM header is broken and cannot be read."):
        return _read(file)[0]


def _read(file: BinaryIO) -> tuple[Dataset, Element | None]:
    """The header, quickly where the file is common, and where its pixels lie, where that is known."""
    with suppress(Uncommon):
        header, pixels = fast_headers.read(file)
        if not any(tag(keyword) in header for keyword in _GROUPS):
            return header, pixels
    header = read_header(file)
    return header, fast_headers.pixels_at(file, header)


def describe(source: Source, header: Dataset, pixels: Element | None = None, size: int = MAX_FRAMES) -> Instance:
    """The instance that a header describes, of a file of ``size`` bytes.

    Raises LimitExceeded (``MAX_FRAMES``), and StudyRefused for a size or a place that is present and unreadable.
    """
    rows, columns = raw_values.short(header, "Rows") or 0, raw_values.short(header, "Columns") or 0
    frames = _frames(raw_values.whole(header, "NumberOfFrames")) if rows and columns else 0
    if frames:
        frame_counts.check(header, frames, pixels and pixels.length, size)
    position = functional_group(header, "PlanePositionSequence")
    orientation = raw_values.numbers(functional_group(header, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    return Instance(
        source=source,
        header=header,
        sop_instance_uid=raw_values.uid(header, "SOPInstanceUID"),
        series_instance_uid=raw_values.uid(header, "SeriesInstanceUID"),
        position=None if mosaic.is_mosaic(header) else raw_values.numbers(position, "ImagePositionPatient", 3),
        orientation=orientation if orientation is not None and is_orthonormal(orientation) else None,
        instance_number=_instance_number(header),
        rows=rows,
        columns=columns,
        frames=frames,
        pixels=pixels,
    )


def _instance_number(header: Dataset) -> int | None:
    try:
        return raw_values.whole(header, "InstanceNumber")
    except StudyRefused:  # it only sorts
        return None


def _frames(stated: int | None) -> int:
    if stated is not None and stated < 0:
        raise unreadable("NumberOfFrames", "is negative")
    count = max(1, stated or 1)
    if count > MAX_FRAMES:
        raise LimitExceeded("MAX_FRAMES", MAX_FRAMES, "frames", what="An image")
    return count


def read_study(
    path: Path,
    *,
    on_skip: Callable[[Path, str], None] = lambda path, why: None,
    on_holes: Callable[[Sequence[Hole]], None] = refuse,
    max_files: int | None = None,
) -> list[Instance]:
    """Read every DICOM file at or below ``path``, in folder and name order (see ``spatial_order``).

    ``on_skip(path, why)`` is called for each file left out: no DICOM, a DICOMDIR, no regular file. Broken DICOM
    files, folders that cannot be listed and what else looks like a part of the study (``holes``) go to ``on_holes``,
    which refuses them unless told otherwise. Raises StudyRefused, LimitExceeded (``max_study_files``).
    """
    if not path.exists():
        raise StudyRefused("There is no file or folder at the path of the study.")
    reading = _Reading(on_skip)
    for count, file in enumerate(find_files(path, reading.skip), start=1):
        if max_files is not None and count > max_files:
            raise LimitExceeded("max_study_files", max_files, "files", what="The study")
        reading.read(file)
    if holes := reading.holes():
        on_holes(holes)
    return reading.instances


class _Reading:
    """The files of one study, sorted into instances, broken ones and others."""

    def __init__(self, on_skip: Callable[[Path, str], None]) -> None:
        self.instances: list[Instance] = []
        self._on_skip = on_skip
        self._broken: list[Hole] = []
        self._others: list[tuple[File, str]] = []
        self._place = 0

    def read(self, path: Path) -> None:
        self._place += 1
        try:
            self.instances.append(read_instance(path))
        except NotAnInstance as error:
            self._others.append((File(path, self._place, _head(path)), error.detail))
        except StudyRefused as error:
            self._broken.append(Hole(path, self._place, error.detail))

    def skip(self, path: Path, why: str) -> None:
        """Sort what cannot be opened."""
        self._place += 1
        if path.is_dir():
            self._broken.append(Hole(path, self._place, f"It {why}."))
        else:
            self._others.append((File(path, self._place, None), why))

    def holes(self) -> list[Hole]:
        """The parts that cannot be read, in their order; the other files are reported as skipped."""
        found = find_holes((Path(str(one.source)) for one in self.instances), [file for file, _ in self._others])
        places = {hole.place for hole in found}
        for file, why in self._others:
            if file.place not in places:
                self._on_skip(file.path, why)
        return sorted([*self._broken, *found], key=lambda hole: hole.place)


def _head(path: Path) -> bytes | None:
    try:
        with opened(path) as file:
            return head_of(file)
    except StudyRefused:
        return None


def group_by_series(instances: Iterable[Instance]) -> dict[str, list[Instance]]:
    """Instances by SeriesInstanceUID, series and instances in the order in which they were first seen."""
    series: dict[str, list[Instance]] = {}
    for instance in instances:
        series.setdefault(instance.series_instance_uid, []).append(instance)
    return series


def spatial_order(instances: Iterable[Instance]) -> list[Instance]:
    """A whole study: series in first-seen order, each as ``sort_spatially`` orders it. Never refuses."""
    return [one for series in group_by_series(instances).values() for one in sort_spatially(series)]


def sort_spatially(instances: Iterable[Instance]) -> list[Instance]:
    """Sort a series by position along the normal of its slices (PS3.3 C.7.6.2.1.1): all of time point 0, then of 1 ...

    Images at one position are time points, in the order of their instance number, then of their acquisition. Where
    positions hold different numbers of images no time points can be told: all get 0, and those at one position stay
    together. A series of several orientations (a localizer) gives one stack after another. Images without position
    follow in order of instance number, then acquisition, then as given; file names never count. Never refuses.
    """
    acquired = _as_acquired(instances)
    placed = [one for one in acquired if one.position is not None and one.orientation is not None]
    floating = [replace(one, time_point=0) for one in acquired if one.position is None or one.orientation is None]
    ordered = [one for stack in _stacks(placed) for one in _sort_stack(stack)]
    return sorted(ordered, key=lambda one: one.time_point) + floating


def _as_acquired(instances: Iterable[Instance]) -> list[Instance]:
    """By InstanceNumber; by AcquisitionNumber and time where scanners begin to count anew at each repetition."""
    groups = groupby(sorted(instances, key=_number), key=_number)
    return [one for _, same in groups for one in _in_time(list(same))]


def _number(instance: Instance) -> tuple[bool, int]:
    return instance.instance_number is None, instance.instance_number or 0


def _in_time(instances: list[Instance]) -> list[Instance]:
    if len(instances) < 2 or any(isinstance(one.header, NoHeader) for one in instances):
        return instances
    return sorted(instances, key=_moment)


def _moment(instance: Instance) -> tuple[float, str]:
    moments = (text(instance.header, name) for name in ("AcquisitionDateTime", "AcquisitionTime", "ContentTime"))
    return ordinal(instance.header, "AcquisitionNumber") or 0.0, next((moment for moment in moments if moment), "")


def _stacks(placed: list[Instance]) -> list[list[Instance]]:
    """Instances by orientation, in first-seen order; past ``MAX_STACKS`` orientations each is a stack of its own."""
    if not placed:
        return []
    orientations = np.array([one.orientation for one in placed])
    left = np.arange(len(placed))
    stacks: list[list[Instance]] = []
    while len(left) and len(stacks) < MAX_STACKS:
        same = (np.abs(orientations[left] - orientations[left[0]]) < SAME_DIRECTION).all(axis=1)
        stacks.append([placed[index] for index in left[same]])
        left = left[~same]
    return stacks + [[placed[index]] for index in left]


def _sort_stack(stack: list[Instance]) -> list[Instance]:
    assert stack[0].orientation is not None
    distances = np.array([one.position for one in stack]) @ normal(stack[0].orientation)
    by_distance = np.argsort(distances, kind="stable")
    places = np.concatenate([[0], np.cumsum(np.diff(distances[by_distance]) > SAME_POSITION_MM)])
    slots = [
        [stack[index] for _, index in sorted(slot, key=lambda pair: int(pair[1]))]
        for _, slot in groupby(zip(places, by_distance, strict=True), key=lambda pair: int(pair[0]))
    ]
    if len({len(slot) for slot in slots}) > 1:
        return [replace(one, time_point=0) for slot in slots for one in slot]
    return [replace(slot[time], time_point=time) for time in range(len(slots[0])) for slot in slots]
