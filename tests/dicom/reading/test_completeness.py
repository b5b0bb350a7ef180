"""Files that end within their pixels, and those that do not though they look odd."""

import io
from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from gateway.dicom.reading.completeness import is_cut_off
from gateway.dicom.samples import phantom

TRAILING = bytes.fromhex("fcfffcff4f42000004000000") + bytes(4)
"""Data Set Trailing Padding (PS3.10 7.2)."""
DELIMITER = bytes.fromhex("feffdde000000000")

CUT_OFF = ["MR_truncated.dcm"]


@pytest.fixture(scope="module")
def compressed() -> bytes:
    """Three frames of JPEG 2000 that are none, in fragments of 700 bytes or less."""
    (dataset,) = phantom.datasets(slices=1, size=16)
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.NumberOfFrames = 3
    dataset.PixelData = encapsulate([b"\xff\x4f" + bytes(1399)] * 3, fragments_per_frame=2)
    dataset["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def cut_off(data: bytes) -> bool:
    return is_cut_off(io.BytesIO(data))


def test_a_whole_file_is_not_cut_off(compressed: bytes) -> None:
    assert compressed.endswith(DELIMITER)
    assert not cut_off(compressed)
    assert not cut_off(compressed + TRAILING)


def test_a_file_is_cut_off_wherever_it_ends_within_its_fragments(compressed: bytes) -> None:
    start = compressed.index(bytes.fromhex("e07f1000"))
    assert [end for end in range(start + 12, len(compressed), 7) if not cut_off(compressed[:end])] == []


def test_fragments_without_end_are_not_walked_for_ever(compressed: bytes) -> None:
    start = compressed.index(bytes.fromhex("e07f1000")) + 12
    assert not cut_off(compressed[:start] + bytes.fromhex("feff00e000000000") * 100_000)


def test_no_whole_file_of_pydicom_is_cut_off() -> None:
    found = sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"))
    assert len(found) > 50
    assert [path.name for path in found if cut_off(path.read_bytes())] == CUT_OFF
