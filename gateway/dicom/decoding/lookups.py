"""Palette colour: stored values to RGB by look-up tables (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import ExplicitVRBigEndian

from gateway.dicom.reading.attributes import text, whole
from gateway.errors import StudyRefused

RGB = NDArray[np.uint8]

_COLOURS = ("Red", "Green", "Blue")
_LARGEST = 0xFFFF


def palette_to_rgb(header: Dataset, array: NDArray[Any]) -> RGB:
    """Stored values of any shape as uint8 (..., 3). Raises StudyRefused where readers of the tables would differ."""
    if "RedPaletteColorLookupTableData" not in header:  # segmented (PS3.3 C.7.9.2), or none
        found = apply_color_lut(array, header)
        return found if found.dtype == np.uint8 else _scaled(found)
    descriptors = {tuple(header[f"{colour}PaletteColorLookupTableDescriptor"].value) for colour in _COLOURS}
    if len(descriptors) != 1:
        raise StudyRefused("The palettes of red, green and blue of an image are described differently.")
    entries, first, depth = descriptors.pop()
    entries = entries or 1 << 16
    if whole(header, "PixelRepresentation") == 1 and first > 0x7FFF:  # read as unsigned where the VR was not stated
        first -= 1 << 16
    tables = [_table(header, colour, entries, depth) for colour in _COLOURS]
    if tables[0].dtype != np.uint8:
        if max(table.max() for table in tables) <= 0xFF:
            raise StudyRefused("The palette of an image states 16 bits and uses 8: its colours cannot be told.")
        tables = [_scaled(table) for table in tables]
    index = np.clip(array.astype(np.int64) - first, 0, entries - 1)
    return np.stack([table[index] for table in tables], axis=-1)


def _table(header: Dataset, colour: str, entries: int, depth: int) -> NDArray[Any]:
    """The entries of a table, uint8 or uint16. Eight bits that were stored in 16 are known by the length of the data
    (PS3.3 C.7.6.3.1.5, note 1)."""
    element = header[f"{colour}PaletteColorLookupTableData"]
    data = np.frombuffer(element.value, np.uint8)
    if text(getattr(header, "file_meta", Dataset()), "TransferSyntaxUID") == ExplicitVRBigEndian and element.VR == "OW":
        data = data.reshape(-1, 2)[:, ::-1].reshape(-1)
    if depth == 16 and len(data) == 2 * entries:
        return np.ascontiguousarray(data).view("<u2")
    if depth == 8 and len(data) == 2 * entries:
        return data[::2]
    if depth == 8 and len(data) == entries + entries % 2:
        return data[:entries]
    raise StudyRefused("A palette of an image is not as long as its descriptor states.")


def _scaled(table: NDArray[Any]) -> RGB:
    return np.rint(table / _LARGEST * 255).astype(np.uint8)
