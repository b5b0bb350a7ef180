"""The work that a file costs is bounded by its bytes: what it states is counted before it is believed."""

import io
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from gateway.dicom.decoding.loading import load_stored, load_values
from gateway.dicom.decoding.pixels import decode
from gateway.dicom.reading import classify, instances, watched_file
from gateway.dicom.reading.classify import split
from gateway.dicom.reading.files import convert_dataset_to_bytes, read_header
from gateway.dicom.reading.instances import Instance, read_instance, sort_spatially
from gateway.dicom.volumes.study import image as image_of
from gateway.errors import Cancelled, LimitExceeded, StudyRefused
from tests.dicom.requests import answering
from tests.dicom.studies import image


def part10(dataset: Dataset) -> io.BytesIO:
    return io.BytesIO(convert_dataset_to_bytes(dataset))


def stating(frames: int, pixels: int) -> Dataset:
    """An image of 1 x 1 that states so many frames, and has so many bytes of pixels."""
    dataset = image(size=(1, 1))
    dataset.NumberOfFrames, dataset.PixelData = frames, bytes(pixels)
    return dataset


def big_endian(dataset: Dataset) -> io.BytesIO:
    """A file that only pydicom reads."""
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    file = io.BytesIO()
    dcmwrite(file, dataset, implicit_vr=False, little_endian=False, enforce_file_format=True)
    return file


@pytest.mark.parametrize(("frames", "pixels", "fits"), [(4, 4, True), (5, 4, False), (100_000, 2, False), (1, 0, True)])
def test_an_image_states_no_more_frames_than_its_pixels_have_bytes(frames: int, pixels: int, fits: bool) -> None:
    file = part10(stating(frames, pixels))
    if fits:
        assert read_instance(file).frames == frames
        return
    with pytest.raises(StudyRefused, match="NumberOfFrames .* has not as many bytes"):
        read_instance(file)


@pytest.mark.parametrize("compressed", [True, False])
def test_frames_of_unknown_bytes_are_compared_with_the_file(compressed: bool) -> None:
    dataset = stating(50_000, 2)
    if compressed:
        dataset.file_meta.TransferSyntaxUID = RLELossless
        dataset.PixelData = encapsulate([bytes(64)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    else:
        del dataset.PixelData
    with pytest.raises(StudyRefused, match="NumberOfFrames"):
        read_instance(part10(dataset))


def test_the_frames_of_all_files_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classify, "MAX_STUDY_FRAMES", 10)
    one, other = (part10(image(name=name, frames=5)) for name in "ab")
    assert len(split([one, other])[0]) == 2
    with pytest.raises(LimitExceeded, match="MAX_STUDY_FRAMES"):
        split([one, other, part10(image(name="c"))])
    with pytest.raises(LimitExceeded, match="MAX_STUDY_FRAMES"):
        split([read_instance(part10(image(frames=6))), read_instance(part10(image(frames=6)))])


def turned(angle: float) -> Instance:
    cosine, sine = np.cos(angle), np.sin(angle)
    orientation = [f"{value:.6f}" for value in (cosine, sine, 0, -sine, cosine, 0)]
    return read_instance(part10(image(name=str(angle), orientation=orientation)))


def test_past_a_number_of_orientations_each_image_is_a_stack_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    angles = [0.0, 0.5, 1.0, 1.5]
    series = [turned(angle) for angle in angles for _ in range(2)]
    expected = sort_spatially(series)
    monkeypatch.setattr(instances, "MAX_STACKS", 2)
    found = sort_spatially(series)
    assert sorted(one.sop_instance_uid for one in found) == sorted(one.sop_instance_uid for one in expected)
    assert [one.time_point for one in found].count(1) == 2


def test_a_header_that_pydicom_reads_has_a_number_of_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = image()
    dataset.ReferencedImageSequence = [Dataset() for _ in range(3 * watched_file._LOOK)]
    dataset["ReferencedImageSequence"].is_undefined_length = True
    file = big_endian(dataset)
    assert len(read_header(file).ReferencedImageSequence) == 3 * watched_file._LOOK
    monkeypatch.setattr(watched_file, "MAX_HEADER_READS", watched_file._LOOK)
    with pytest.raises(LimitExceeded, match="MAX_HEADER_READS"):
        read_header(file)


@pytest.mark.parametrize("work", [lambda file: split([file]), read_header], ids=["a study", "a header"])
def test_a_request_whose_time_is_over_is_read_no_further(work: Any) -> None:
    file = big_endian(image())
    with answering(1 << 30) as request:
        work(file)
        request.context.cancel()
        with pytest.raises(Cancelled):
            work(file)


def run_length_encoded() -> io.BytesIO:
    dataset = image()
    dataset.compress(RLELossless, generate_instance_uid=False)
    return part10(dataset)


class Counting(io.BytesIO):
    """Counts the reads of a file."""

    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().read(size)


@pytest.mark.parametrize("table", [True, False], ids=["with offsets", "without"])
def test_the_frames_of_a_compressed_image_are_found_once_for_all(table: bool) -> None:
    frames = np.arange(9 * 256, dtype=np.uint16).reshape(9, 16, 16)
    dataset = image(frames=9, pixels=frames)
    dataset.compress(RLELossless, generate_instance_uid=False)
    if not table:
        dataset.PixelData = encapsulate(list(generate_frames(dataset.PixelData, number_of_frames=9)), has_bot=False)
    file = Counting(convert_dataset_to_bytes(dataset))
    instance = read_instance(file)
    values = [load_values([(instance, 0)])]
    file.reads = 0
    values += [load_values([(instance, frame)]) for frame in range(1, 9)]
    assert file.reads == 0
    assert np.array_equal(np.concatenate(values), frames)


def test_the_frames_of_a_compressed_image_in_colour_are_found_once_for_all() -> None:
    frames = np.arange(4 * 768).astype(np.uint8).reshape(4, 16, 16, 3)
    dataset = image(frames=4)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = frames.tobytes()
    dataset.compress(RLELossless, generate_instance_uid=False)
    file = Counting(convert_dataset_to_bytes(dataset))
    instance = read_instance(file)
    values = [image_of(instance, 0).array]
    file.reads = 0
    values += [image_of(instance, frame).array for frame in range(1, 4)]
    assert file.reads == 0
    assert np.array_equal(np.stack(values), frames)


BYTES = 16 * 16 * 2


@pytest.mark.parametrize(
    ("work", "count"),
    [
        (lambda file: load_values([(read_instance(file), 0)]), 3 * BYTES),
        (lambda file: load_stored([(read_instance(file), 0)]), 2 * BYTES),
        (lambda file: decode(file, 0), BYTES),
    ],
    ids=["values", "stored", "decoded"],
)
def test_what_is_decoded_is_counted_before_it_is_made(work: Any, count: int) -> None:
    with answering(count):
        work(run_length_encoded())
    with answering(count - 1), pytest.raises(LimitExceeded) as refused:
        work(run_length_encoded())
    assert refused.value.members == {"limit": "max_decoded_bytes", "value": count - 1}
