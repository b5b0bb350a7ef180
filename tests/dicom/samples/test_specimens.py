"""The small images of the checks of a machine have the stated properties."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels.decoders.base import _PIXEL_DATA_DECODERS

from gateway.dicom.samples.specimens import FAMILIES, SIZE, Specimen
from tests.require import require

SPECIMENS = [specimen for family in FAMILIES.values() for specimen in family]
READ_BY_GDCM = [specimen for specimen in SPECIMENS if specimen not in FAMILIES["HTJ2K"]]


def test_there_is_one_for_every_transfer_syntax_of_still_images() -> None:
    assert {specimen.syntax for specimen in SPECIMENS} == set(_PIXEL_DATA_DECODERS)


@pytest.mark.parametrize("specimen", SPECIMENS, ids=lambda specimen: specimen.syntax.keyword)
def test_each_is_a_file_in_its_transfer_syntax(specimen: Specimen) -> None:
    dataset = pydicom.dcmread(BytesIO(specimen.file()))
    assert dataset.file_meta.TransferSyntaxUID == specimen.syntax
    assert (dataset.Rows, dataset.Columns) == specimen.values.shape == (SIZE, SIZE)


@pytest.mark.parametrize("specimen", READ_BY_GDCM, ids=lambda specimen: specimen.syntax.keyword)
def test_another_reader_sees_the_same_ramp(specimen: Specimen, tmp_path: Path) -> None:
    library = pytest.importorskip("SimpleITK")
    (tmp_path / "ramp.dcm").write_bytes(specimen.file())
    found = library.GetArrayFromImage(library.ReadImage(str(tmp_path / "ramp.dcm")))[0].astype(int)
    assert np.abs(found - specimen.values).max() <= specimen.tolerance


@pytest.mark.parametrize("specimen", SPECIMENS, ids=lambda specimen: specimen.syntax.keyword)
def test_each_is_decoded_where_every_decoder_is_installed(specimen: Specimen) -> None:
    refusal = specimen.refusal()
    require("[gdcm]" not in refusal, "JPEG Lossless is decoded by python-gdcm, the extra gdcm")
    assert refusal == ""


def test_an_image_of_other_values_is_refused() -> None:
    rle = FAMILIES["RLE"][0]
    assert rle.codestream is not None
    other = Specimen(rle.syntax, rle.codestream.replace(b"\x0f\x00\x10", b"\x0f\x00\x11"))
    assert other.refusal() == "RLE Lossless is decoded to values that were not encoded."
