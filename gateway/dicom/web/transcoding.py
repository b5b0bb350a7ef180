"""A stored file in the transfer syntax that DICOMweb sends by default, Explicit VR Little Endian (PS3.18 8.7.3.5), and
in that of the DICOM network, Implicit VR Little Endian (PS3.5 10.1).
"""

from contextlib import suppress
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from gateway.dicom.decoding.compressed import BROKEN, KINDS, describe
from gateway.dicom.decoding.pixels import decode
from gateway.dicom.reading.attributes import text, whole
from gateway.dicom.reading.deflated import read_meta
from gateway.dicom.reading.elements import Uncommon
from gateway.dicom.reading.fast_headers import read_transfer_syntax
from gateway.dicom.reading.files import convert_dataset_to_bytes, opened, read_header, read_whole, refusing
from gateway.dicom.reading.frame_counts import stated_size
from gateway.dicom.web.byte_order import to_little_endian
from gateway.errors import NotAcceptable, StudyRefused

DEFAULT: str = ExplicitVRLittleEndian
_NATIVE = (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
_TABLES = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")


def stored_syntax(file: BinaryIO) -> str:
    """Return the UID of the transfer syntax of a file, "" where it states none. Raises StudyRefused."""
    with suppress(Uncommon):  # of hundreds of files, so that each counts
        return read_transfer_syntax(file)
    with opened(file), refusing("A DICOM header is broken and cannot be read."):
        file.seek(132)
        return text(read_meta(file), "TransferSyntaxUID")


def refuse_undecodable(file: BinaryIO, syntax: str) -> None:
    """Raise NotAcceptable for a file that cannot be sent in Explicit VR Little Endian."""
    if syntax == DEFAULT or syntax in _NATIVE:
        return
    try:
        if syntax not in KINDS:
            raise StudyRefused("its pixels cannot be decoded here")
        with opened(file):
            describe(read_header(file))
    except StudyRefused as error:
        known = UID(syntax)
        name = known.name if not known.is_private and known.is_transfer_syntax else "a transfer syntax of a vendor"
        raise NotAcceptable(
            f"An instance is stored in {name} and cannot be sent in Explicit VR Little Endian;"
            " accept transfer-syntax=* to get it as it is stored.",
            private=error.private,
        ) from error


def explicit_little_endian(file: BinaryIO) -> bytes:
    """Return a file in Explicit VR Little Endian, decoded where it is compressed. Raises StudyRefused."""
    with opened(file), refusing(f"{BROKEN}."):
        header = read_header(file)
        syntax = text(header.file_meta, "TransferSyntaxUID")
        frames = whole(header, "NumberOfFrames") or 1
        values = decode(file) if syntax in KINDS and whole(header, "Rows") else None
        file.seek(0)
        dataset = read_whole(file, stated_size(header, frames) + 1)
        if syntax == ExplicitVRBigEndian:
            to_little_endian(dataset)
        if values is not None:
            _replace_pixels(dataset, values)
        if _lacks_vrs(dataset):  # pydicom would write such elements as they are
            dataset.set_original_encoding(True, True, dataset.original_character_set)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return convert_dataset_to_bytes(dataset)


def implicit_little_endian(file: BinaryIO) -> bytes:
    """Return a file in Explicit VR Little Endian with its VRs left out. Raises StudyRefused."""
    with opened(file), refusing(f"{BROKEN}."):
        dataset = read_whole(file)
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        return convert_dataset_to_bytes(dataset)


def _lacks_vrs(dataset: Dataset) -> bool:
    """Return True for elements without a VR in a file whose transfer syntax states that they have one."""
    return any(isinstance(element, RawDataElement) and element.VR is None for element in dataset.values())


def _replace_pixels(dataset: Dataset, values: NDArray[np.generic]) -> None:
    """Replace compressed pixels by their values."""
    dataset.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OB" if values.dtype.itemsize == 1 else "OW"
    dataset["PixelData"].is_undefined_length = False
    if whole(dataset, "SamplesPerPixel") == 3:
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    for keyword in _TABLES:
        dataset.pop(keyword, None)
