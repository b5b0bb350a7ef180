"""Pixels are decoded on demand, to the values that pydicom reads, or refused by the instance's digest."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from gateway.dicom.decoding.pixels import decode
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.volumes.study import Volume, image, split, study
from gateway.errors import LimitExceeded, StudyRefused
from gateway.spool.parts import PartFile, Spool
from tests.dicom.volumes.volume_series import (
    COLUMNS,
    PATIENT,
    ROWS,
    add_pixels,
    item,
    multi_frame,
    parts,
    series,
    slice_at,
    stored,
)
from tests.examples import examples

COMPRESSED = [JPEG2000Lossless, JPEGLSLossless, RLELossless]
NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def volume_of(datasets: list[Dataset]) -> Volume:
    return study(parts(datasets)).series[0].volume()


def in_syntax(dataset: Dataset, syntax: UID) -> Dataset:
    if syntax.is_encapsulated and syntax not in NATIVE:
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
        dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def spooled(files: list[io.BytesIO], threshold: int) -> list[PartFile]:
    spool = Spool(threshold=threshold)
    for file in files:
        spool.write(file.getvalue())
        spool.end_part()
    return spool.parts()


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED], ids=lambda syntax: syntax.name)
def test_every_transfer_syntax_gives_the_same_volume(syntax: UID) -> None:
    volume = volume_of([in_syntax(one, syntax) for one in series()])
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, np.stack([stored(index) for index in range(5)]).astype(np.float32) - 1024)
    assert volume.stored.dtype == np.uint16
    assert np.array_equal(volume.stored[4], stored(4))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, *COMPRESSED], ids=lambda syntax: syntax.name)
def test_every_transfer_syntax_gives_the_same_frames_of_an_enhanced_image(syntax: UID) -> None:
    volume = volume_of([in_syntax(multi_frame(series()[::-1]), syntax)])
    assert np.array_equal(volume.stored, np.stack([stored(index) for index in range(5)]))
    assert np.array_equal(image(volume.instances[0], 3).stored, stored(1))


@pytest.mark.parametrize("kind", ["<u1", "<i1", "<u2", "<i2", "<u4", "<i4"])
def test_every_depth_of_stored_values_is_read_as_pydicom_reads_it(kind: str) -> None:
    limits = np.iinfo(kind)
    values = np.linspace(int(limits.min), int(limits.max), 48).astype(kind).reshape(6, 8)
    slices = series(2)
    for one in slices:
        add_pixels(one, values)
        one.RescaleSlope, one.RescaleIntercept = 0.37, 12.5
    volume = volume_of(slices)
    assert volume.stored.dtype == np.dtype(kind)
    assert np.array_equal(volume.stored[1], slices[0].pixel_array)
    expected = values.astype(np.float64) * 0.37 + 12.5
    assert np.allclose(volume.array[0], expected, rtol=2e-7, atol=np.abs(expected).max() * 1e-7)


@pytest.mark.parametrize("signed", [0, 1])
def test_unused_high_bits_are_no_part_of_a_value(signed: int) -> None:
    values = np.array([[0x0000, 0x0FFF, 0xF001], [0x0800, 0x7FFF, 0x8800]], dtype="<u2")
    slices = series(2)
    for one in slices:
        add_pixels(one, values)
        one.BitsStored, one.HighBit, one.PixelRepresentation = 12, 11, signed
    expected = [[0, -1, 1], [-2048, -1, -2048]] if signed else [[0, 4095, 1], [2048, 4095, 2048]]
    volume = volume_of(slices)
    assert volume.stored[0].tolist() == expected
    assert np.array_equal(volume.stored[0], slices[0].pixel_array)


@pytest.mark.parametrize("place", ["memory", "disk", "path"])
def test_parts_in_memory_on_disk_and_files_give_the_same_volume(place: str, tmp_path: Path) -> None:
    files = parts([*series(4), *series(5)[4:]])
    sources: list[Any] = {"memory": spooled(files, 1 << 20), "disk": spooled(files, 0), "path": [tmp_path]}[place]
    for number, file in enumerate(files):
        (tmp_path / str(number)).write_bytes(file.getvalue())
    volume = study(sources).series[0].volume()
    assert np.array_equal(volume.stored, np.stack([stored(index) for index in range(5)]))
    enhanced = spooled(parts([multi_frame(series())]), 0 if place == "disk" else 1 << 20)
    assert np.array_equal(study(enhanced).series[0].volume().stored, volume.stored)


def test_lossy_jpeg_2000_decodes_to_what_the_plain_function_sees() -> None:
    x, y = np.meshgrid(np.linspace(0, 6, 64), np.linspace(0, 6, 64))
    dataset = slice_at((0, 0, 0))
    add_pixels(dataset, (2000 + 1000 * np.sin(x) * np.cos(y)).astype("<u2"))
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.compress(JPEG2000, j2k_cr=[10], generate_instance_uid=False)
    (part,) = parts([dataset])
    assert np.array_equal(study([part]).series[0].volume().stored[0], decode(part))


def test_a_modality_look_up_table_is_applied() -> None:
    slices = series(2)
    for one in slices:
        del one.RescaleSlope, one.RescaleIntercept, one.RescaleType
        add_pixels(one, np.arange(48, dtype="u1").reshape(6, 8))
        one.ModalityLUTSequence = [item(LUTDescriptor=[48, 0, 16], ModalityLUTType="US", LUTData=[*range(1000, 1048)])]
        one.ModalityLUTSequence[0]["LUTDescriptor"].VR = one.ModalityLUTSequence[0]["LUTData"].VR = "US"
    assert np.array_equal(volume_of(slices).array[1], np.arange(1000, 1048).reshape(6, 8))


def test_a_dose_is_in_its_own_units() -> None:
    dataset = slice_at((0, 0, 0), RescaleSlope=None, RescaleIntercept=None, DoseGridScaling="0.25")
    assert volume_of([dataset]).array[0, 0, 3] == 0.75


def test_colour_is_no_volume_but_an_image_of_red_green_and_blue() -> None:
    dataset = slice_at((0, 0, 0), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.Rows, dataset.Columns, dataset.HighBit, dataset.PixelData = 6, 8, 7, bytes(range(144))
    (instance,), _ = split(parts([dataset]))
    shown = image(instance)
    assert shown.array.dtype == np.uint8
    assert np.array_equal(shown.array, np.arange(144).reshape(6, 8, 3))


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "garbage": lambda part: part[: part.rindex(b"\xe0\x7f\x10\x00") + 12] + b"\x55" * 40,
    "nothing": lambda part: part[: part.rindex(b"\xe0\x7f\x10\x00") + 12],
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, *COMPRESSED], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("pixels", GARBAGE)
def test_requirements_on_headers_are_checked_where_pixels_are_garbage(pixels: str, syntax: UID) -> None:
    whole = parts([in_syntax(one, syntax) for one in series()])
    broken = [io.BytesIO(GARBAGE[pixels](part.getvalue())) for part in whole]
    volume = study(broken).series[0].volume()
    assert volume.shape == (5, ROWS, COLUMNS)
    assert np.array_equal(volume.affine, study(whole).series[0].volume().affine)
    assert volume.header.PatientName == PATIENT
    with pytest.raises(StudyRefused):
        _ = volume.array


def test_nothing_beyond_the_header_is_read_before_it_is_needed() -> None:
    class Watched(io.BytesIO):
        far = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.far = max(self.far, self.tell())
            return data

        def getbuffer(self) -> memoryview:
            self.far = len(self.getvalue())
            return super().getbuffer()

    slices = series(2)
    for one in slices:
        add_pixels(one, np.zeros((512, 512), "<u2"))
    files = [Watched(part.getvalue()) for part in parts(slices)]
    volume = study(files).series[0].volume()
    assert volume.spacing[0] == 2.5
    assert all(file.far < 64 << 10 for file in files)
    assert volume.array.shape == (2, 512, 512)
    assert all(file.far > 512 << 10 for file in files)


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_a_broken_instance_is_named_by_its_digest_and_by_nothing_of_the_patient(syntax: UID) -> None:
    slices = [in_syntax(one, syntax) for one in series()]
    slices[3].PixelData = encapsulate([get_frame(slices[3].PixelData, 0)[:20]])
    files = parts(slices)
    with pytest.raises(StudyRefused, match=r"sha256 begins with [0-9a-f]{16}\.") as caught:
        _ = study(files).series[0].volume().array
    assert hashlib.sha256(files[3].getvalue()).hexdigest()[:16] in caught.value.detail
    assert not any(word in caught.value.detail + caught.value.private for word in (PATIENT, "MRN-4711", "1.2.826"))


def test_plain_pixels_that_are_too_few_are_refused_by_digest() -> None:
    slices = series()
    slices[1].PixelData = slices[1].PixelData[:-2]
    with pytest.raises(StudyRefused, match="missing or broken.* sha256 begins"):
        _ = volume_of(slices).array


WHOLE = parts([in_syntax(slice_at((0, 0, 0)), syntax) for syntax in (ExplicitVRLittleEndian, JPEG2000Lossless)])


@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(132, 1300), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=examples(100), deadline=None)
def test_a_file_with_broken_bytes_is_read_as_the_plain_function_reads_it_or_refused(
    part: io.BytesIO, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(part.getvalue())
    for place, byte in changes:
        data[min(place, len(data) - 1)] = byte
    try:
        (volume,) = [one.volume() for one in study([io.BytesIO(data)]).series]
        values = volume.stored
    except (StudyRefused, LimitExceeded):
        return
    assert np.array_equal(values[0], decode(io.BytesIO(data)))


@pytest.mark.parametrize("vr", [b"FD", b"UL"])
def test_a_broken_vr_of_the_media_storage_class_hides_no_pixels(vr: bytes) -> None:
    data = WHOLE[0].getvalue().replace(b"\x02\x00\x02\x00UI", b"\x02\x00\x02\x00" + vr)
    (volume,) = [series.volume() for series in study([io.BytesIO(data)]).series]
    assert np.array_equal(volume.stored[0], decode(io.BytesIO(data)))


def test_pixels_are_found_behind_elements_that_are_out_of_order() -> None:
    dataset = in_syntax(slice_at((0, 0, 0)), JPEG2000Lossless)
    data = parts([dataset])[0].getvalue()
    pixels = data.rindex(b"\xe0\x7f\x10\x00")
    stray = b"\xfc\xff\xfc\xffOB\x00\x00\x02\x00\x00\x00\x00\x00"  # Data Set Trailing Padding
    broken = io.BytesIO(data[:pixels] + stray + data[pixels:])
    assert np.array_equal(study([broken]).series[0].volume().stored[0], stored(0))


def test_an_array_is_decoded_once() -> None:
    volume = volume_of(series())
    assert volume.array is volume.array
    assert volume.stored is volume.stored


def test_files_without_dicm_are_attachments_and_a_dicomdir_is_neither(tmp_path: Path) -> None:
    note, listing = io.BytesIO(b"no DICOM"), Path(str(dcmread.__code__.co_filename)).parent
    dicomdir = listing / "data" / "test_files" / "dicomdirtests" / "DICOMDIR"
    instances, attachments = split([note, *parts(series(1)), io.BytesIO(dicomdir.read_bytes())])
    assert len(instances) == 1
    assert attachments == [note]
    assert [one.sop_instance_uid for one in study(instances).instances] == [instances[0].sop_instance_uid]


def test_a_slice_read_by_itself_makes_the_same_volume() -> None:
    files = parts(series())
    read = study([read_instance(file) for file in files]).series[0].volume()
    assert np.array_equal(read.array, study(files).series[0].volume().array)
