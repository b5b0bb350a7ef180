"""From stored values to what is shown: modality LUT, then VOI LUT (PS3.3 C.11.1 and C.11.2)."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi
from pydicom.uid import RTDoseStorage

from gateway.dicom.reading.attributes import functional_group, sequence, text, unreadable
from gateway.dicom.reading.raw_values import number, uid

Array = NDArray[np.generic]
Floats = NDArray[np.floating[Any]]

PERCENTILES = (1, 99)
"""What a window covers where the header has none: all but the darkest and the brightest hundredth of the pixels."""


def rescale(header: Dataset, array: Array, frame: int = 0) -> Floats:
    """Stored values in their unit (Hounsfield, Bq/ml, Gy ...), any shape; float32 from 8 and 16 bits, else float64.

    Applies the modality LUT sequence, or RescaleSlope and RescaleIntercept, and the scaling of a dose; without any,
    values stay as they are. Raises StudyRefused as ``linear`` and ``dose_scaling``.
    """
    if sequence(header, "ModalityLUTSequence"):
        return cast(Floats, apply_modality_lut(array, header).astype(np.float32))
    values: Floats = array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    slope, intercept = linear(header, frame) or (1.0, 0.0)
    return (values * slope + intercept) * (dose_scaling(header) or 1.0)


def linear(header: Dataset, frame: int = 0) -> tuple[float, float] | None:
    """RescaleSlope and RescaleIntercept of a frame; None where it states neither, as an image may (PS3.3 C.11.1).

    Raises StudyRefused for one without the other, one that is unreadable, and a slope of 0.
    """
    group = functional_group(header, "PixelValueTransformationSequence", frame)
    slope, intercept = number(group, "RescaleSlope"), number(group, "RescaleIntercept")
    if slope is None and intercept is None:
        return None
    if slope is None:
        raise unreadable("RescaleSlope", "is missing beside a RescaleIntercept")
    if intercept is None:
        raise unreadable("RescaleIntercept", "is missing beside a RescaleSlope")
    if slope == 0:
        raise unreadable("RescaleSlope", "is 0")
    return slope, intercept


def dose_scaling(header: Dataset) -> float | None:
    """DoseGridScaling, which an RT Dose has in place of a Modality LUT (PS3.3 C.8.8.3.4.2); None for other images.

    Raises StudyRefused for an RT Dose without it, one that is unreadable, and 0.
    """
    found = number(header, "DoseGridScaling")
    if found == 0:
        raise unreadable("DoseGridScaling", "is 0")
    if found is None and uid(header, "SOPClassUID") == RTDoseStorage:
        raise unreadable("DoseGridScaling", "is missing in an RT Dose")
    return found


Window = tuple[float, float, str]
"""Centre and width in rescaled units, and the function (PS3.3 C.11.2.1.2)."""


def display_range(header: Dataset, array: Array, frame: int = 0, window: Window | None = None) -> Floats:
    """Stored grey values as 0.0 (black) to 1.0 (white), the same shape; MONOCHROME1 is not inverted here.

    ``window`` replaces that of the header.
    """
    with np.errstate(all="ignore"):
        values = rescale(header, array, frame)
        group = functional_group(header, "FrameVOILUTSequence", frame)
        if window is None and _has_voi_lut(group):
            shown = _voi_lut(group, values)
        elif (window := window or voi_window(group)) is not None:
            shown = apply_window(values, *window)
        else:
            shown = _stretch(values, *_percentiles(header, array, values))
    return cast(Floats, np.nan_to_num(shown, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1))


def voi_window(header: Dataset) -> Window | None:
    """The first window: centre, width (in rescaled units) and function. None without one, or with a width <= 0.

    Raises StudyRefused for a number that is unreadable.
    """
    centre, width = number(header, "WindowCenter"), number(header, "WindowWidth")
    if centre is None or width is None or width <= 0:
        return None
    return centre, width, text(header, "VOILUTFunction") or "LINEAR"


def apply_window(values: Floats, centre: float, width: float, function: str) -> Floats:
    """Rescaled values as 0.0 to 1.0 by LINEAR, LINEAR_EXACT or SIGMOID (PS3.3 C.11.2.1.2, C.11.2.1.3).

    A LINEAR window narrower than 1, forbidden but found in floating point images, is taken as LINEAR_EXACT.
    """
    if function == "SIGMOID":
        return cast(Floats, 1 / (1 + np.exp(-4 * (values - centre) / width)))
    if function == "LINEAR" and width >= 1:
        centre, width = centre - 0.5, width - 1
    return _stretch(values, centre - width / 2, centre + width / 2)


def _stretch(values: Floats, low: float, high: float) -> Floats:
    """0.0 at ``low`` and below, 1.0 at ``high`` and above; a step where both are one."""
    if not high > low:
        return (values > low).astype(np.float32)
    return ((values - low) / (high - low)).clip(0, 1)


def _percentiles(header: Dataset, array: Array, values: Floats) -> tuple[float, float]:
    """The window of an image without one; padding (PS3.3 C.7.5.1.1.2) and what is not finite do not count."""
    counted = np.isfinite(values)
    padding = number(header, "PixelPaddingValue")
    if padding is not None and np.any(kept := counted & (array != padding)):
        counted = kept
    if not counted.any():
        return 0.0, 0.0
    shown = values[counted]
    low, high = np.percentile(shown, PERCENTILES)
    return (float(low), float(high)) if high > low else (float(shown.min()), float(shown.max()))


def _has_voi_lut(header: Dataset) -> bool:
    return sequence(header, "VOILUTSequence") is not None


def _voi_lut(header: Dataset, values: Floats) -> Floats:
    """The first VOI LUT; the third number of its descriptor is the depth of its entries (PS3.3 C.11.2.1.1)."""
    shown = apply_voi(np.rint(values).astype(np.int64), header)
    depth = int(header.VOILUTSequence[0].LUTDescriptor[2])
    return cast(Floats, shown / float(2**depth - 1))
