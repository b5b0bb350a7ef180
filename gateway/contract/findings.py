"""What a model may say: plain frozen values, no JSON and no DICOM in them.

``of`` names what a finding lies on: the Volume or Image that the model was given. It is implied where the model
declared just one. Arrays of masks have the axes of what they lie on, (slice, row, column) or (row, column), C order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Coded(Protocol):
    """A coded concept (PS3.3 8.8), such as ``pydicom.sr.codedict.codes.SCT.Lung``."""

    @property
    def value(self) -> str: ...
    @property
    def scheme_designator(self) -> str: ...
    @property
    def meaning(self) -> str: ...


class Code(NamedTuple):
    """A coded concept of free choice."""

    value: str
    scheme_designator: str
    meaning: str


@dataclass(frozen=True, eq=False)
class Mask:
    """A region: bool, or uint8 of 0 and 1. No voxel set is the valid statement that nothing was found."""

    array: Array
    label: str = ""
    of: Any = None
    code: Coded | None = None


@dataclass(frozen=True, eq=False)
class ProbabilityMask:
    """Probabilities: floats of 0 to 1, or uint8 of 0 to 255 for them; shown from ``threshold`` (0 to 1) on."""

    array: Array
    label: str = ""
    of: Any = None
    threshold: float = 0.5
    code: Coded | None = None


class Label(NamedTuple):
    """The name and the code of one value of a LabelMask."""

    name: str
    code: Coded | None = None


@dataclass(frozen=True, eq=False)
class LabelMask:
    """Regions that do not overlap: integers, 0 for background; ``labels`` names each other value (1 to 255)."""

    array: Array
    labels: Mapping[int, str | Label]
    label: str = ""
    of: Any = None


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Values to be shown in colour: floats of 0 to 1, or uint8 of 0 to 255 for them.

    ``palette`` are anchor points ``(place of 0 to 1, (red, green, blue, alpha of 0 to 255))``; None leaves it to the
    viewer.
    """

    array: Array
    label: str = ""
    of: Any = None
    palette: Sequence[tuple[float, tuple[int, int, int, int]]] | None = None
    unit: Coded | None = None


@dataclass(frozen=True, eq=False)
class BoundingBox:
    """A box on one image: corners as (column, row), the centre of the first pixel at (0, 0); both corners inside.

    ``slice`` is the index of the image where ``of`` is a Volume.
    """

    label: str
    top_left: tuple[float, float]
    bottom_right: tuple[float, float]
    slice: int | None = None
    of: Any = None
    code: Coded | None = None


@dataclass(frozen=True, eq=False)
class LinearMeasurement:
    """A length on one image: ends as (column, row) pixels, or as (x, y, z) mm in the patient, LPS."""

    label: str
    start: tuple[float, ...]
    end: tuple[float, ...]
    slice: int | None = None
    of: Any = None
    code: Coded | None = None


@dataclass(frozen=True, eq=False)
class Classification:
    """Labels and their values, shown as they are; of the whole study, or of the series that ``of`` belongs to."""

    labels: Mapping[str, Any]
    of: Any = None
    code: Coded | None = None


@dataclass(frozen=True, eq=False)
class SecondaryCapture:
    """A picture: uint8, (row, column) grey or (row, column, 3) RGB; or a finished Secondary Capture dataset."""

    picture: Any
    label: str = ""
    of: Any = None


@dataclass(frozen=True, eq=False)
class StructuredReport:
    """A finished Structured Report dataset, or measurements ``(name, value, unit)`` to be written as one (TID 1500)."""

    content: Any
    label: str = ""
    of: Any = None


@dataclass(frozen=True, eq=False)
class Conformance:
    """A recommended condition of the input, and whether it held."""

    description: str
    compliant: bool


Finding = (
    Mask
    | ProbabilityMask
    | LabelMask
    | Heatmap
    | BoundingBox
    | LinearMeasurement
    | Classification
    | SecondaryCapture
    | StructuredReport
    | Conformance
)


def as_uint8(array: Array) -> NDArray[np.uint8]:
    """0 to 255 for values of 0 to 1: floats scaled and rounded, bool and uint8 as they are. Raises ValueError else."""
    if array.dtype in (np.uint8, np.bool_):
        return array.view(np.uint8) if array.dtype == np.bool_ else array
    if array.dtype.kind != "f" or not (array.min(initial=0) >= 0 and array.max(initial=0) <= 1):  # NaN is neither
        raise ValueError("give floats of 0 to 1, or uint8")
    return (array * 255).round().astype(np.uint8)
