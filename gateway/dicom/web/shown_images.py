"""The values of one file as a page draws them: after the modality LUT, little endian, with the geometry beside.

A page decodes no transfer syntax itself. What it gets is a JSON header and an array, ``encode`` says how.
"""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from gateway.contract.requests import JSON
from gateway.dicom.decoding.loading import load_values
from gateway.dicom.decoding.pixels import to_rgb
from gateway.dicom.decoding.stored import read_frame
from gateway.dicom.reading.attributes import Vector, functional_group, text, unreadable, value
from gateway.dicom.reading.classify import contents
from gateway.dicom.reading.files import NotAnInstance, Source, opened
from gateway.dicom.reading.geometry import Affine
from gateway.dicom.reading.holes import head_of
from gateway.dicom.reading.instances import Instance, read_instance
from gateway.dicom.reading.mosaic import is_mosaic
from gateway.dicom.reading.nifti_heads import nifti_kind
from gateway.dicom.reading.raw_values import number, numbers
from gateway.dicom.reading.redaction import naming
from gateway.dicom.web.pixel_sizes import pixel_aspect, shown_spacing, spacing_at
from gateway.errors import LimitExceeded, StudyRefused

Array = NDArray[np.generic]

MAX_SHOWN_BYTES = 1 << 30
"""Bytes of one file's values: a tomosynthesis of 60 frames takes 0.5 GiB, and a browser gives an array some 2 GiB."""
MAX_WINDOWS = 16
"""Windows of one header; scanners state two or three."""
ALIGNMENT = 8
"""The pixels begin at a multiple of it, so that a typed array views them where they lie."""
UNSPECIFIED = "US"
"""The Rescale Type of values without a unit (PS3.3 C.11.1.1.2)."""
_INTEGERS = (np.int16, np.uint16)


class ShownImage(NamedTuple):
    """A file as it is shown: ``values`` (frame, row, column) or (frame, row, column, 3), and ``header``, JSON."""

    header: JSON
    values: Array


def show(source: Source | Instance, *, patient: bool = False) -> ShownImage:
    """Decode a DICOM or NIfTI file; its header names the patient only where ``patient`` is asked for.

    Values are int16 or uint16 where these hold them exactly, else float32; uint8 for colour. Raises StudyRefused for a
    file without an image and for what cannot be decoded, LimitExceeded (``MAX_SHOWN_BYTES``).
    """
    if not isinstance(source, Instance):
        with opened(source) as file:
            if nifti_kind(head_of(file)) is not None:
                return _nifti(source)
        source = _instance(source)
    with naming(source.source):
        return _dicom(source, patient=patient)


def encode(shown: ShownImage) -> Iterator[bytes]:
    """Yield the size of the header as uint32, the header as JSON, zeros up to ``ALIGNMENT``, and the values in C order.

    All numbers are little endian.
    """
    header = json.dumps(shown.header, ensure_ascii=False, allow_nan=False).encode()
    yield len(header).to_bytes(4, "little") + header
    yield bytes(-(4 + len(header)) % ALIGNMENT)
    yield shown.values.astype(shown.values.dtype.newbyteorder("<"), copy=False).tobytes()


def _instance(source: Source) -> Instance:
    try:
        return read_instance(source)
    except NotAnInstance as error:
        raise StudyRefused(error.detail) from error


def _dicom(one: Instance, *, patient: bool) -> ShownImage:
    header = one.header
    if not one.frames:
        raise StudyRefused(f"There is no image to show: the file is {contents([one])}.")
    values = _values(one)
    words: JSON = {
        **_array_words(values),
        "units": _units(header),
        "study_instance_uid": text(header, "StudyInstanceUID"),
        "series_instance_uid": one.series_instance_uid,
        "sop_instance_uid": one.sop_instance_uid,
        "series_number": _integer(header, "SeriesNumber"),
        "instance_number": one.instance_number,
        "modality": text(header, "Modality"),
        "series_description": text(header, "SeriesDescription"),
        "body_part": text(header, "BodyPartExamined"),
        "frame_of_reference_uid": text(header, "FrameOfReferenceUID"),
        **_place(one, 0),
        "spacing_at": spacing_at(header),
        "aspect": _list(pixel_aspect(header)),
        "windows": list(_windows(functional_group(header, "FrameVOILUTSequence", 0))),
        "inverted": text(header, "PhotometricInterpretation") == "MONOCHROME1",
    }
    if one.frames > 1:
        words["frames"] = [_place(one, frame) for frame in range(one.frames)]
    if patient:
        names = {"name": "PatientName", "id": "PatientID", "birth_date": "PatientBirthDate", "sex": "PatientSex"}
        words["patient"] = {key: text(header, keyword) for key, keyword in names.items()}
    return ShownImage(words, values)


def _values(one: Instance) -> Array:
    frames = [(one, frame) for frame in range(one.frames)]
    grey = text(one.header, "PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
    size = one.rows * one.columns * one.frames * (4 if grey else 3)
    if size > MAX_SHOWN_BYTES:
        raise LimitExceeded("MAX_SHOWN_BYTES", MAX_SHOWN_BYTES, what="An image that is shown")
    if grey:
        return smallest(load_values(frames))
    return np.stack([to_rgb(one.header, read_frame(one, frame), frame) for _, frame in frames])


def smallest(values: NDArray[np.float32]) -> Array:
    """Return float values as int16 or uint16 where these hold each of them exactly, else as they are."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    for kind in _INTEGERS:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:  # false for NaN
            found = values.astype(kind)
            return found if np.array_equal(found, values) else values
    return values


def _array_words(values: Array) -> JSON:
    return {"dtype": values.dtype.name, "shape": list(values.shape)}


def _units(header: Dataset) -> str:
    """The unit of the values, "" where none is stated; HU is that of CT (PS3.3 C.11.1.1.2)."""
    stated = text(functional_group(header, "PixelValueTransformationSequence", 0), "RescaleType")
    stated = stated if stated != UNSPECIFIED else ""
    stated = stated or text(header, "Units") or text(header, "DoseUnits")
    return stated or ("HU" if text(header, "Modality") == "CT" else "")


def _integer(header: Dataset, keyword: str) -> int | None:
    try:
        found = number(header, keyword)
    except StudyRefused:  # it only sorts
        return None
    return None if found is None else int(found)


def _place(one: Instance, frame: int) -> JSON:
    """Where a frame lies: ``position`` (mm, LPS), ``orientation`` (row, then column), ``spacing`` [row, column].

    Each is None where the file does not state it, as the position of a mosaic.
    """
    header = one.header
    place = functional_group(header, "PlanePositionSequence", frame)
    plane = functional_group(header, "PlaneOrientationSequence", frame)
    measures = functional_group(header, "PixelMeasuresSequence", frame)
    position = None if is_mosaic(header) else numbers(place, "ImagePositionPatient", 3)
    spacing = shown_spacing(header, measures)
    return {
        "position": _list(position),
        "orientation": None if one.orientation is None else _list(numbers(plane, "ImageOrientationPatient", 6)),
        "spacing": _list(spacing),
        "thickness": number(measures, "SliceThickness"),
    }


def _list(found: Vector | None) -> list[float] | None:
    return None if found is None else [float(each) for each in found]


def _windows(header: Dataset) -> Iterator[JSON]:
    """The windows of a header, with their names (PS3.3 C.11.2.1.2)."""
    centers, widths = _several(header, "WindowCenter"), _several(header, "WindowWidth")
    names = _several(header, "WindowCenterWidthExplanation")
    function = text(header, "VOILUTFunction") or "LINEAR"
    for index, (center, width) in enumerate(zip(centers[:MAX_WINDOWS], widths, strict=False)):
        try:
            found = float(center), float(width)
        except (TypeError, ValueError):
            raise unreadable("WindowCenter", "or WindowWidth is no number") from None
        if all(map(math.isfinite, found)) and found[1] > 0:
            name = str(names[index]) if index < len(names) else ""
            yield {"center": found[0], "width": found[1], "name": name, "function": function}


def _several(header: Dataset, keyword: str) -> Sequence[Any]:
    found = value(header, keyword)
    if found is None or isinstance(found, str):
        return [found] if found else []
    return list(found) if hasattr(found, "__iter__") else [found]


def _nifti(source: Source) -> ShownImage:
    """A NIfTI file as a model gets it: its axes turned to those of DICOM."""
    from gateway.dicom.volumes.nifti_volumes import NiftiVolume  # nibabel, which DICOM files do not need

    volume = NiftiVolume(source, allow_tilt=True)
    if math.prod(volume.shape) * 4 > MAX_SHOWN_BYTES:
        raise LimitExceeded("MAX_SHOWN_BYTES", MAX_SHOWN_BYTES, what="An image that is shown")
    values = smallest(volume.array)
    places = [_plane(volume.affine, index) for index in range(volume.shape[0])]
    uid = volume.series_instance_uid
    words: JSON = {
        **_array_words(values),
        **dict.fromkeys(("units", "modality", "series_description", "body_part"), ""),
        "study_instance_uid": uid,
        "series_instance_uid": uid,
        "sop_instance_uid": uid,
        "series_number": None,
        "instance_number": None,
        "frame_of_reference_uid": uid,
        **places[0],
        "windows": [],
        "inverted": False,
        "frames": places,
    }
    return ShownImage(words, values)


def _plane(affine: Affine, index: int) -> JSON:
    """Where slice ``index`` of a volume lies, as a DICOM header would state it."""
    step, down, right = (affine[:3, axis] for axis in range(3))
    spacing = float(np.linalg.norm(down)), float(np.linalg.norm(right))
    return {
        "position": _list(affine[:3, 3] + index * step),
        "orientation": [*(right / spacing[1]).tolist(), *(down / spacing[0]).tolist()],
        "spacing": list(spacing),
        "thickness": float(np.linalg.norm(step)),
    }
