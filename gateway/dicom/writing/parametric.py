"""Heatmaps as Parametric Map objects (PS3.3 A.75): the values themselves, not their colours."""

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes

from gateway.contract.findings import Array, Heatmap, clipped
from gateway.dicom.volumes.stack import Frame
from gateway.dicom.writing import planes
from gateway.dicom.writing.planes import Plane
from gateway.dicom.writing.provenance import SHORT_STRING, Stamp, code_of, line
from gateway.dicom.writing.source_frames import gap, stand_in
from gateway.errors import AnswerInvalid

DERIVATION = ("113041", "DCM", "Image processing")
HIGHEST = 255
"""The value of 1 in uint8; written with 16 bits, which a Parametric Map must have (PS3.3 C.8.32.2)."""


def parametric_map(heatmap: Heatmap, frames: Sequence[Frame], stamp: Stamp) -> Dataset:
    """Return a heatmap: floats as Float Pixel Data of 32 bits, uint8 as integers of 16 bits that map to 0 to 1.

    ``frames`` have a place in the patient, which a Parametric Map must have. Raises AnswerInvalid.
    """
    values = _values(heatmap.array).reshape(len(frames), frames[0][0].rows, frames[0][0].columns)
    dataset = Dataset(_skeleton(heatmap, values.dtype, frames, stamp))
    laid = [Plane(index) for index in range(len(frames))]
    planes.lay_out(dataset, laid, frames, DERIVATION)
    data = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    if values.dtype == np.uint16:
        dataset.add_new("PixelData", "OW", data)
    else:
        dataset.add_new("FloatPixelData", "OF", data)
    return stamp.finish(dataset, heatmap.label or "Heatmap", content=[planes.content(laid, frames), data])


def _values(array: Array) -> Array:
    if array.dtype == np.uint8:
        return array.astype(np.uint16)
    try:
        return clipped(array).astype(np.float32, copy=False)
    except ValueError as error:
        raise AnswerInvalid("", f"A heatmap {error}.") from None


def _skeleton(heatmap: Heatmap, dtype: np.dtype[np.generic], frames: Sequence[Frame], stamp: Stamp) -> Dataset:
    """highdicom's object with one plane, which is replaced."""
    from highdicom import VOILUTTransformation
    from highdicom.pm import ParametricMap, RealWorldValueMapping
    from highdicom.sr import CodedConcept

    source = stand_in(frames[0], stamp, between=gap(frames))
    highest = HIGHEST if dtype == np.uint16 else 1.0
    mapping = RealWorldValueMapping(
        lut_label=line(heatmap.label, SHORT_STRING) or "HEATMAP",
        lut_explanation=line(heatmap.label) or "Heatmap",
        unit=codes.UCUM.NoUnits if heatmap.unit is None else CodedConcept(*code_of("", heatmap.unit)),
        value_range=(0, highest) if dtype == np.uint16 else (0.0, highest),
        slope=1 / highest,
        intercept=0.0,
        quantity_definition=CodedConcept(*code_of(heatmap.label or "Heatmap")),
    )
    return ParametricMap(
        source_images=[source],
        pixel_array=np.zeros((1, source.Rows, source.Columns), dtype),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation(window_center=highest / 2, window_width=highest)],
        content_label="HEATMAP",
        **stamp.placeholders,
    )
