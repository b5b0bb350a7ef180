"""Slices of a NIfTI file as pictures: a file states no window, so one over its own values is taken."""

import numpy as np

from gateway.dicom.drawing.render import RGB
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.nifti_volumes import volume_of

SHOWN = 1, 99
"""Percentiles of the values that are black and white, as of DICOM images without a window."""
SAMPLE = 1 << 20
"""Values that percentiles are taken of."""


class NiftiPictures:
    """The pictures of one file, in one window."""

    def __init__(self, instance: Instance) -> None:
        """Raises StudyRefused, LimitExceeded."""
        self._values = volume_of(instance).array
        sample = self._values.reshape(-1)[:: max(1, self._values.size // SAMPLE)]
        self._low, self._high = map(float, np.percentile(sample, SHOWN))

    def rgb(self, slice_number: int) -> RGB:
        """Return a slice as grey, uint8 (row, column, 3)."""
        width = (self._high - self._low) or 1.0
        shown = ((self._values[slice_number] - self._low) / width).clip(0, 1)
        return np.repeat(np.rint(shown * 255).astype(np.uint8)[..., None], 3, axis=-1)
