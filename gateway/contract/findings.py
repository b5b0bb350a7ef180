"""The findings of a model: plain frozen values, no JSON and no DICOM in them.

``of`` is the Volume, Image or Series of the request that a finding lies on. It is implied where the model declared
just one. Arrays of masks have the axes of what they lie on, (slice, row, column) or (row, column), C order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.contract.brief import Brief

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
    """A coded concept of the author's choice."""

    value: str
    scheme_designator: str
    meaning: str


class _Labelled(Brief):
    """A finding whose label stands in its ``repr``."""

    __slots__ = ()
    _shown = frozenset({"label"})


@dataclass(frozen=True, eq=False, repr=False)
class Mask(_Labelled):
    """A region: bool, or uint8 of 0 and 1. A mask without a voxel is valid: the model found nothing."""

    array: Array
    label: str = ""
    of: Any = None
    code: Coded | None = None


@dataclass(frozen=True, eq=False, repr=False)
class ProbabilityMask(_Labelled):
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


@dataclass(frozen=True, eq=False, repr=False)
class LabelMask(_Labelled):
    """Regions that do not overlap: integers, 0 for background; ``labels`` names each other value (1 to 255)."""

    array: Array
    labels: Mapping[int, str | Label]
    label: str = ""
    of: Any = None


@dataclass(frozen=True, eq=False, repr=False)
class Heatmap(_Labelled):
    """Values that are shown in colour: floats of 0 to 1, or uint8 of 0 to 255 for them.

    ``palette`` are anchor points ``(place of 0 to 1, (red, green, blue, alpha of 0 to 255))``. None leaves the choice
    to the viewer.
    """

    array: Array
    label: str = ""
    of: Any = None
    palette: Sequence[tuple[float, tuple[int, int, int, int]]] | None = None
    unit: Coded | None = None


@dataclass(frozen=True, eq=False, repr=False)
class BoundingBox(_Labelled):
    """A box on one image: corners as (column, row), the centre of the first pixel at (0, 0); both corners inside.

    ``slice`` is the index of the image where ``of`` is a Volume.
    """

    label: str
    top_left: tuple[float, float]
    bottom_right: tuple[float, float]
    slice: int | None = None
    of: Any = None
    code: Coded | None = None


@dataclass(frozen=True, eq=False, repr=False)
class LinearMeasurement(_Labelled):
    """A length on one image: ends as (column, row) pixels, or as (x, y, z) mm in the patient, LPS."""

    label: str
    start: tuple[float, ...]
    end: tuple[float, ...]
    slice: int | None = None
    of: Any = None
    code: Coded | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Classification(Brief):
    """Labels and their values, shown as they are; of the whole study, or of the series that ``of`` belongs to."""

    labels: Mapping[str, Any]
    of: Any = None
    code: Coded | None = None


@dataclass(frozen=True, eq=False, repr=False)
class SecondaryCapture(_Labelled):
    """A picture: uint8, (row, column) grey or (row, column, 3) RGB; or a finished Secondary Capture dataset."""

    picture: Any
    label: str = ""
    of: Any = None


@dataclass(frozen=True, eq=False, repr=False)
class StructuredReport(_Labelled):
    """A finished Structured Report dataset, or measurements ``(name, value, unit)`` to be written as one (TID 1500)."""

    content: Any
    label: str = ""
    of: Any = None


@dataclass(frozen=True, eq=False, repr=False)
class Conformance(Brief):
    """A recommended condition of the input; ``compliant`` if the input met it."""

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


@dataclass(frozen=True)
class MaskKind:
    """A kind of mask: its name, and the values that its array may hold beside uint8.

    ``dtypes`` are numpy's kinds of dtype, ``wanted`` the advice to an author, ``largest`` the highest integer.
    """

    name: str
    dtypes: str
    wanted: str
    largest: int = 255

    @property
    def is_fraction(self) -> bool:
        """Return True if the values stand for 0 to 1: floats of that range, or uint8 of 0 to 255."""
        return self.dtypes == "f"


_FRACTION = "give floats of 0 to 1, or uint8 of 0 to 255"
MASKS: Mapping[type, MaskKind] = {
    Mask: MaskKind("boolean mask", "b", "give bool, such as array > 0.5, or uint8 of 0 and 1", largest=1),
    ProbabilityMask: MaskKind("probability mask", "f", _FRACTION),
    LabelMask: MaskKind("numeric label mask", "iu", "give integers of 0 to 255"),
    Heatmap: MaskKind("heatmap", "f", _FRACTION),
}
"""The findings that are arrays on images, a row each."""


def mask_bytes(finding: Any) -> NDArray[np.uint8]:
    """The array of a mask as uint8: fractions as 0 to 255, bool as 0 and 1, labels as they are.

    Raises ValueError for values of another kind.
    """
    if MASKS[type(finding)].dtypes == "iu":
        return np.asarray(finding.array.astype(np.uint8, copy=False))
    return as_uint8(finding.array)


TOLERANCE = 1 / 512
"""How far floats may lie beyond 0 to 1, as those of a softmax or an interpolation do, to be clipped.

It is half a step of the 0 to 255 that are sent, so that no value that is sent changes by it.
"""


def as_uint8(array: Array) -> NDArray[np.uint8]:
    """Return 0 to 255 for values of 0 to 1: floats scaled and rounded, bool and uint8 as they are.

    Raises ValueError for values of another kind.
    """
    if array.dtype in (np.uint8, np.bool_):
        return array.view(np.uint8) if array.dtype == np.bool_ else array
    return (clipped(array) * 255).round().astype(np.uint8)


def clipped(array: Array) -> Array:
    """Return floats of 0 to 1, those beyond by ``TOLERANCE`` clipped. Raises ValueError for others."""
    if array.dtype.kind == "f":
        lowest, highest = array.min(initial=0), array.max(initial=0)
        if lowest >= 0 and highest <= 1:
            return array
        if lowest >= -TOLERANCE and highest <= 1 + TOLERANCE:  # NaN is neither
            return np.clip(array, 0, 1)
        raise ValueError(f"has {_range(array)}; {_FRACTION}, and no NaN")
    raise ValueError(f"is {array.dtype.name}; {_FRACTION}")


def _range(array: Array) -> str:
    return "values that are NaN" if np.isnan(array).any() else f"values of {array.min():.4g} to {array.max():.4g}"
