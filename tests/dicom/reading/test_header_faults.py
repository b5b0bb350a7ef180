"""A header that cannot be read is refused by its own fault: where it ends, a representation that no reader knows."""

import io
from collections.abc import Callable

import pytest
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from gateway.dicom.reading.instances import read_instance
from gateway.dicom.volumes.study import image
from gateway.errors import StudyRefused
from tests.dicom.volumes.volume_series import parts, slice_at

MODALITY, PIXELS = b"\x08\x00\x60\x00CS", b"\xe0\x7f\x10\x00OW"


def file_of(dataset: Dataset) -> bytes:
    return parts([dataset])[0].getvalue()


def plain() -> bytes:
    return file_of(slice_at((0, 0, 0)))


def before(element: bytes, inserted: bytes) -> bytes:
    data = plain()
    return data.replace(element, inserted + element, 1)


def cut_at(element: bytes, more: int) -> bytes:
    data = plain()
    return data[: data.index(element) + more]


def implicit() -> bytes:
    dataset = slice_at((0, 0, 0))
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    data = file.getvalue()
    return data[: data.index(b"\x08\x00\x60\x00\2\0\0\0CT") + 9]  # within Modality: the lengths of UIDs differ


def with_syntax(syntax: str) -> bytes:
    """A file that states another transfer syntax; "" for none."""
    data, value = plain(), syntax.encode() + b"\0" * (len(syntax) % 2)
    element = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
    return bytes(128) + b"DICM" + (element if syntax else b"") + data[data.index(b"\x08\x00\x16\x00UI") :]


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "an unknown representation": (lambda: before(MODALITY, b"\x08\x00\x5a\x00ZZ\0\0\4\0\0\0abcd"), r"\(0008,005A\)"),
    "pixels of an unknown one": (lambda: plain().replace(PIXELS, PIXELS[:4] + b"ZZ"), r"PixelData \(7FE0,0010\)"),
    "cut off within a value": (lambda: cut_at(MODALITY, 9), r"cut off .* Modality \(0008,0060\)"),
    "cut off in implicit VR": (lambda: implicit(), r"cut off within its header, in Modality \(0008,0060\)"),
    "cut off at once": (lambda: cut_at(b"\x08\x00\x16\x00UI", 0), "before the first element"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_header_is_refused_by_its_own_fault(kind: str) -> None:
    make, sentence = BROKEN[kind]
    with pytest.raises(StudyRefused, match=sentence) as refused:
        read_instance(io.BytesIO(make()))
    assert "sha256" in refused.value.detail
    assert refused.value.private


UNDECODABLE = {
    "": "TransferSyntaxUID (0002,0010) is missing",
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
    "1.2.840.10008.1.2.4.53": "JPEG Spectral Selection",
    "1.2.840.10008.1.2.4.55": "JPEG Full Progression",
    "1.2.840.10008.1.2.4.999": "1.2.840.10008.1.2.4.999",
    "1.3.46.670589.33.1.4.1": "of a vendor",
}


@pytest.mark.parametrize("syntax", UNDECODABLE)
def test_a_transfer_syntax_that_cannot_be_decoded_is_named(syntax: str) -> None:
    with pytest.raises(StudyRefused) as refused:
        _ = image(read_instance(io.BytesIO(with_syntax(syntax)))).array
    assert UNDECODABLE[syntax] in refused.value.detail
    assert refused.value.private
