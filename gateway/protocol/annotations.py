"""The JSON of an answer, protocol_version 1.0. Members that are not named here are free.

Only this file knows the members' names and types; a rule between members raises with ``at``, the way from the object
that holds it down to the fault.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic cannot read typing's own before Python 3.12

from gateway.protocol.kinds import KINDS

Size = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
UID = Annotated[str, Field(min_length=1)]
FrameNumber = Annotated[int, Field(ge=0)]
"""From 0 or from 1: the protocol's own examples hold both."""


def _wrong(sentence: str, *at: str | int) -> PydanticCustomError:
    return PydanticCustomError("rule", "{sentence}", {"sentence": sentence, "at": at})


def _numbers(sentence: str, *counts: int) -> Callable[[list[float]], list[float]]:
    def check(point: list[float]) -> list[float]:
        if len(point) not in counts:
            raise _wrong(f"{sentence}, not {len(point)}.")
        return point

    return check


PixelPoint = Annotated[list[float], AfterValidator(_numbers("A point in pixels is two numbers, column and row", 2))]
"""(column, row) in pixels."""
WorldPoint = Annotated[
    list[float], AfterValidator(_numbers("A point in the world is three numbers, x, y and z (two are accepted)", 2, 3))
]
"""(x, y, z) in patient millimetres, LPS (PS3.3 C.7.6.2.1.1)."""


class BoxAnnotation(TypedDict):
    """A box on one image, from its top left to its bottom right corner."""

    label: str
    SOPInstanceUID: UID
    top_left: PixelPoint
    bottom_right: PixelPoint


class _Measurement(TypedDict):
    """Members of a measurement in any coordinates."""

    SOPInstanceUID: NotRequired[UID]
    frame_number: NotRequired[FrameNumber]
    label: NotRequired[str]


class PixelMeasurement(_Measurement):
    """A line on one image."""

    coordinates_type: Literal["pixel"]
    start: PixelPoint
    end: PixelPoint


class WorldMeasurement(_Measurement):
    """A line in the patient."""

    coordinates_type: Literal["world"]
    start: WorldPoint
    end: WorldPoint


LinearMeasurement = Annotated[PixelMeasurement | WorldMeasurement, Field(discriminator="coordinates_type")]


class Anchor(TypedDict):
    """A colour, RGBA from 0 to 255, at a fraction of the mask's range: 0.0 is the value 0, 1.0 is 255."""

    threshold: Fraction
    color: Annotated[list[Byte], Field(min_length=4, max_length=4)]


def _from_zero_to_one(anchors: list[Anchor]) -> list[Anchor]:
    """Equal neighbours make a hard step between two colours, which is allowed."""
    thresholds = [anchor["threshold"] for anchor in anchors]
    if thresholds[0] != 0:
        raise _wrong("The first threshold should be 0.0.", 0, "threshold")
    if thresholds[-1] != 1:
        raise _wrong("The last threshold should be 1.0.", len(anchors) - 1, "threshold")
    for index in range(1, len(thresholds)):
        if thresholds[index] < thresholds[index - 1]:
            raise _wrong("The thresholds should increase from 0.0 to 1.0.", index, "threshold")
    return anchors


class AnchorPalette(TypedDict):
    """Colours between which a viewer interpolates."""

    type: Literal["anchorpoints"]
    data: Annotated[list[Anchor], Field(min_length=2), AfterValidator(_from_zero_to_one)]


class LookupPalette(TypedDict):
    """256 colours of RGBA in a row, as the predecessor's services may send."""

    type: Literal["lut"]
    data: Annotated[list[Byte], Field(min_length=1024, max_length=1024)]


Palette = Annotated[AnchorPalette | LookupPalette, Field(discriminator="type")]


class DataShape(TypedDict):
    """Voxels along each axis; one image needs no ``timepoints`` and no ``depth``."""

    timepoints: NotRequired[Size]
    depth: NotRequired[Size]
    height: Size
    width: Size


class DicomImage(TypedDict):
    """The one image, or frame of one, that a mask lies on."""

    SOPInstanceUID: UID
    frame_number: NotRequired[FrameNumber]


class Recommendation(TypedDict):
    """A recommended condition of a DICOM part; ``compliant`` if it is met."""

    description: str
    compliant: bool


class DicomConformance(TypedDict):
    """The conformance of a DICOM part, as stated by the model."""

    recommended: list[Recommendation]


def _known(binary_type: str) -> str:
    if binary_type not in KINDS:
        raise _wrong(f"The binary_type should be one of {', '.join(KINDS)}.")
    return binary_type


def _label_map(labels: dict[str, str]) -> dict[str, str]:
    """At most ten digits: a mask of uint8 has no larger value, and int() of a very long text is slow."""
    if not all(key.isascii() and key.isdigit() and len(key) <= 10 for key in labels):
        raise _wrong("The keys of label_map should be digits, at most ten.")
    if _repeats(map(int, labels)):
        raise _wrong("Two keys of label_map are the same number.")
    if _repeats(labels.values()):
        raise _wrong("The values of label_map should be unique.")
    return labels


def _repeats(items: Iterable[Any]) -> bool:
    everything = list(items)
    return len(set(everything)) < len(everything)


class PartEntry(TypedDict):
    """An entry of ``parts``: it describes one binary part."""

    binary_type: Annotated[str, AfterValidator(_known)]
    binary_data_shape: NotRequired[DataShape]
    label_map: NotRequired[Annotated[dict[str, str], AfterValidator(_label_map)]]
    palette: NotRequired[str]
    dicom_image: NotRequired[DicomImage]
    SeriesInstanceUID: NotRequired[UID]
    probability_threshold: NotRequired[Fraction]
    dicomConformance: NotRequired[DicomConformance]


def _complete(entry: PartEntry) -> PartEntry:
    for member in KINDS[entry["binary_type"]].requires:
        if member not in entry:
            raise _wrong(f"A {entry['binary_type']} needs {member}.", member)
    return entry


class AnswerJSON(TypedDict):
    """The JSON of a whole answer."""

    parts: list[Annotated[PartEntry, AfterValidator(_complete)]]
    palettes: NotRequired[dict[str, Palette]]
    bounding_boxes_2d: NotRequired[list[BoxAnnotation]]
    linear_measurements_2d: NotRequired[list[LinearMeasurement]]
    study_ml_json: NotRequired[dict[str, Any]]
    series_ml_json: NotRequired[dict[str, Any]]


def palettes_exist(answer: AnswerJSON) -> AnswerJSON:
    """Every ``palette`` that an entry names is a member of ``palettes``."""
    for index, entry in enumerate(answer["parts"]):
        if "palette" in entry and entry["palette"] not in answer.get("palettes", {}):
            raise _wrong("The palette named here is not among palettes.", "parts", index, "palette")
    return answer
