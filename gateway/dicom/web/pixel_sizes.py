"""The size of a pixel as a page measures it: in millimetres where a file states them, and where these hold."""

import numpy as np
from pydicom import Dataset

from gateway.dicom.reading.attributes import Vector, functional_group, text, value
from gateway.dicom.reading.raw_values import number, numbers

PROJECTIONS = frozenset({"CR", "DX", "MG", "RF", "XA", "PX", "IO", "RG"})
"""Modalities of X-rays through the whole patient."""


def spacing_at(header: Dataset) -> str:
    """Return where the spacing of pixels holds: in the patient, or for a projection as it states (PS3.3 10.7.1.3).

    ``calibrated`` was corrected for the magnification; ``unknown`` is a Pixel Spacing that does not say whether.
    """
    if text(header, "Modality") not in PROJECTIONS:
        return "patient"
    pixel = numbers(functional_group(header, "PixelMeasuresSequence", 0), "PixelSpacing", 2)
    imager = numbers(header, "ImagerPixelSpacing", 2)
    if pixel is None:
        return "detector"
    if text(header, "PixelSpacingCalibrationType"):
        return "calibrated"
    if imager is None:
        return "unknown"
    return "detector" if np.allclose(pixel, imager) else "calibrated"


def shown_spacing(header: Dataset, measures: Dataset) -> Vector | None:
    """Return (2,) mm between rows and columns, of the pixel measures of a frame first; None where none are stated."""
    spacing = numbers(measures, "PixelSpacing", 2)
    if spacing is None:
        spacing = numbers(header, "ImagerPixelSpacing", 2)
    if spacing is None:
        spacing = _ultrasound_spacing(header)
    return spacing if spacing is not None and (spacing > 0).all() else None


CENTIMETRES, TWO_DIMENSIONAL = 3, 1
"""Physical Units X and Y Direction, and Region Spatial Format, of PS3.3 C.8.5.5.1."""


def _ultrasound_spacing(header: Dataset) -> Vector | None:
    """Return mm between rows and columns of an ultrasound image with one region alone, two-dimensional and in cm."""
    regions = value(header, "SequenceOfUltrasoundRegions") or []
    if len(regions) != 1 or number(regions[0], "RegionSpatialFormat") != TWO_DIMENSIONAL:
        return None
    units, steps = (
        [number(regions[0], f"Physical{name}{axis}") for axis in axes]
        for name, axes in (("Units", ("YDirection", "XDirection")), ("Delta", ("Y", "X")))
    )
    if units != [CENTIMETRES] * 2 or None in steps:
        return None
    return np.abs(np.array(steps, np.float64)) * 10


def pixel_aspect(header: Dataset) -> Vector | None:
    """Return (2,) the height and the width of a pixel in parts of each other; None if unstated (PS3.3 C.7.6.3.1.7)."""
    found = numbers(header, "PixelAspectRatio", 2)
    return found if found is not None and (found > 0).all() else None
