"""Studies are read by their headers, and ordered by where their images lie in the patient."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from gateway.dicom.reading.files import NotAnInstance, convert_dataset_to_bytes
from gateway.dicom.reading.instances import (
    Instance,
    group_by_series,
    read_instance,
    read_study,
    sort_spatially,
    spatial_order,
)
from gateway.errors import GatewayError, LimitExceeded, StudyRefused
from tests.dicom.studies import image, put

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
SAGITTAL, CORONAL = (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)


def in_memory(dataset: Dataset) -> Instance:
    return read_instance(BytesIO(convert_dataset_to_bytes(dataset)))


def placed(*, acquired: int | None = None, taken: str | None = None, **words: Any) -> Instance:
    """One image; words as for ``image``, with its AcquisitionNumber and AcquisitionTime."""
    dataset = image(**words)
    if acquired is not None:
        dataset.AcquisitionNumber = acquired
    if taken is not None:
        dataset.AcquisitionTime = taken
    return in_memory(dataset)


def heights(instances: list[Instance]) -> list[float]:
    return [float(one.position[2]) for one in instances if one.position is not None]


SHUFFLED = [
    placed(name=str(z), number=number, z=z) for z, number in zip((3, -2, 8.5, 0, 5), (1, 5, 2, 4, 3), strict=True)
]
TWO_TIMES = [placed(name=f"{z} {n}", number=n, z=z) for n, z in ((1, 0), (2, 1), (3, 2), (4, 0), (5, 1), (6, 2))]

WHOLE = convert_dataset_to_bytes(image())


def test_file_names_and_instance_numbers_do_not_decide_the_order_of_slices(tmp_path: Path) -> None:
    for name, number, z in (("a", 1, 4.0), ("b", 2, -6.0), ("c", 3, 9.0), ("d", 4, 0.5)):
        put(tmp_path, name, image(name=name, number=number, z=z))
    read = read_study(tmp_path)
    assert heights(read) == [4.0, -6.0, 9.0, 0.5]
    assert heights(sort_spatially(read)) == [-6.0, 0.5, 4.0, 9.0]


@given(st.permutations(SHUFFLED))
def test_slices_have_the_same_order_whatever_the_order_of_files(given_order: list[Instance]) -> None:
    assert heights(sort_spatially(given_order)) == [-2, 0, 3, 5, 8.5]


def test_slices_are_ordered_along_their_own_normal_not_along_the_patient() -> None:
    xs = (5.0, -3.0, 1.0)
    stack = [placed(name=str(x), orientation=SAGITTAL, origin=(x, 0, -x)) for x in xs]
    assert [float(one.position[0]) for one in sort_spatially(stack) if one.position is not None] == [5.0, 1.0, -3.0]


@given(st.permutations(TWO_TIMES))
def test_images_at_one_position_are_time_points_each_of_them_whole(given_order: list[Instance]) -> None:
    ordered = sort_spatially(given_order)
    assert [one.time_point for one in ordered] == [0, 0, 0, 1, 1, 1]
    assert [one.instance_number for one in ordered] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("moments", [({"acquired": 1}, {"acquired": 2}), ({"taken": "095959.5"}, {"taken": "100000"})])
def test_repetitions_with_the_same_numbers_are_distinguished_by_their_acquisition(moments: tuple[Any, Any]) -> None:
    early, late = ([placed(name=f"{moment} {z}", number=z + 1, z=z, **moment) for z in range(3)] for moment in moments)
    ordered = sort_spatially([*late, *early])
    assert [one.sop_instance_uid for one in ordered] == [one.sop_instance_uid for one in [*early, *late]]


def test_places_with_different_numbers_of_images_give_no_time_points() -> None:
    ordered = sort_spatially([placed(name=str(n), number=n, z=z) for n, z in ((1, 0), (2, 1), (3, 0), (4, 2))])
    assert [(one.instance_number, one.time_point) for one in ordered] == [(1, 0), (3, 0), (2, 0), (4, 0)]


def test_series_stay_apart_in_the_order_in_which_they_were_first_seen() -> None:
    mixed = [placed(name=f"{series}{z}", series=series, z=z) for z, series in ((3, "b"), (2, "a"), (1, "b"), (0, "a"))]
    assert [len(series) for series in group_by_series(mixed).values()] == [2, 2]
    assert heights(spatial_order(mixed)) == [1, 3, 0, 2]


def test_a_localizer_gives_one_stack_after_another() -> None:
    planes = [(CORONAL, (0, 7, 0)), (SAGITTAL, (2, 0, 0)), (CORONAL, (0, 3, 0)), (SAGITTAL, (9, 0, 0))]
    ordered = sort_spatially([placed(name=str(p), orientation=o, origin=p) for o, p in planes])
    assert [tuple(one.position) for one in ordered if one.position is not None] == [
        (0, 3, 0),
        (0, 7, 0),
        (9, 0, 0),
        (2, 0, 0),
    ]
    assert {one.time_point for one in ordered} == {0}


def test_a_time_point_comes_whole_even_where_a_series_holds_several_stacks() -> None:
    stacks = ((CORONAL, (0, 7, 0)), (SAGITTAL, (2, 0, 0)))
    twice = [placed(name=f"{t} {p}", number=t, orientation=o, origin=p) for o, p in stacks for t in (1, 2)]
    assert [(one.time_point, one.instance_number) for one in sort_spatially(twice)] == [(0, 1), (0, 1), (1, 2), (1, 2)]


def test_images_without_position_follow_by_instance_number() -> None:
    loose = [placed(name=str(n), number=n, z=None) for n in (9, 4)]
    unnumbered = image(name="none", z=None)
    del unnumbered.InstanceNumber
    ordered = sort_spatially([in_memory(unnumbered), *loose, placed(name="here", number=50)])
    assert [one.instance_number for one in ordered] == [50, 4, 9, None]


@pytest.mark.parametrize("orientation", [(1, 0, 0, 1, 0, 0), (2, 0, 0, 0, 1, 0), (1, 0, 0, 0.2, 1, 0), (0,) * 6])
def test_a_broken_orientation_counts_as_absent(orientation: tuple[float, ...]) -> None:
    assert placed(orientation=orientation).orientation is None


@pytest.mark.parametrize("position", [(1, 2), (1, 2, 3, 4)])
def test_a_position_of_other_than_three_numbers_is_refused(position: tuple[float, ...]) -> None:
    with pytest.raises(StudyRefused, match="ImagePositionPatient"):
        placed(origin=position)


def test_a_multi_frame_image_lies_where_its_first_frame_lies() -> None:
    dataset = image(frames=3, z=None)
    orientation, *places = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(CORONAL)
    shared = Dataset()
    shared.PlaneOrientationSequence = [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [Dataset() for _ in places]
    for index, (group, place) in enumerate(zip(dataset.PerFrameFunctionalGroupsSequence, places, strict=True)):
        place.ImagePositionPatient = [1, 20 + index, 3]
        group.PlanePositionSequence = [place]
    found = in_memory(dataset)
    assert found.position is not None and found.orientation is not None
    assert (found.frames, tuple(found.position), tuple(found.orientation)) == (3, (1, 20, 3), CORONAL)


def test_an_object_without_an_image_has_no_frames() -> None:
    found = read_instance(SHIPPED / "reportsi.dcm")
    assert (found.rows, found.columns, found.frames, found.position) == (0, 0, 0, None)


def test_the_header_is_read_without_its_pixels_and_the_file_stays_at_its_start() -> None:
    file = BytesIO(convert_dataset_to_bytes(image()))
    file.seek(99)
    assert "PixelData" not in read_instance(file).header
    assert file.tell() == 0


def test_what_is_no_dicom_instance_is_left_out_with_a_reason(tmp_path: Path) -> None:
    put(tmp_path / "deep" / "er", "CT1", image())
    (tmp_path / "notes.txt").write_text("no DICOM")
    (tmp_path / "empty").touch()
    (tmp_path / "DICOMDIR").write_bytes(b"never read")
    (tmp_path / "index").write_bytes((SHIPPED / "dicomdirtests" / "DICOMDIR").read_bytes())
    skipped: dict[str, str] = {}
    found = read_study(tmp_path, on_skip=lambda path, why: skipped.update({path.name: why}))
    assert [one.rows for one in found] == [16]
    assert sorted(skipped) == ["DICOMDIR", "empty", "index", "notes.txt"]
    assert "DICM at byte 128" in skipped["notes.txt"] and skipped["notes.txt"] == skipped["empty"]
    assert "DICOMDIR" in skipped["index"] and "DICOMDIR" in skipped["DICOMDIR"]


def test_a_pipe_and_a_link_to_a_device_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "round").symlink_to(tmp_path)
    put(tmp_path, "slice", image())
    skipped: dict[str, str] = {}
    assert len(read_study(tmp_path, on_skip=lambda path, why: skipped.update({path.name: why}))) == 1
    assert skipped == {"pipe": "not a regular file", "endless": "not a regular file"}


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_special_file_by_its_own_path_is_no_instance(kind: str, tmp_path: Path) -> None:
    path = Path("/dev/zero")
    if kind == "pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)
    with pytest.raises(NotAnInstance, match="not a regular file"):
        read_instance(path)


def test_one_broken_file_refuses_the_study_instead_of_leaving_a_hole(tmp_path: Path) -> None:
    put(tmp_path, "a", image())
    (tmp_path / "b").write_bytes(WHOLE[:600])
    with pytest.raises(StudyRefused, match="cut off") as refused:
        read_study(tmp_path)
    assert not isinstance(refused.value, NotAnInstance)


@given(st.integers(132, len(WHOLE)))
def test_a_file_cut_off_anywhere_is_refused_or_read_without_a_wrong_value(cut: int) -> None:
    try:
        found = read_instance(BytesIO(WHOLE[:cut])).header
    except StudyRefused:
        return
    assert len(found) and all(element == image()[element.tag] for element in found)


@given(cut=st.integers(0, len(WHOLE)), flips=st.dictionaries(st.integers(132, 900), st.integers(0, 255), max_size=8))
def test_damaged_bytes_are_read_or_refused_and_the_refusal_quotes_nothing(cut: int, flips: dict[int, int]) -> None:
    damaged = bytearray(WHOLE)
    for at, byte in flips.items():
        damaged[at] = byte
    try:
        found = read_instance(BytesIO(bytes(damaged[:cut])))
    except GatewayError as refused:
        assert not any(word in f"{refused} {refused.private}" for word in ("Doe", "Jane", str(image().SOPInstanceUID)))
    else:
        assert found.frames >= 0


def test_a_study_of_more_files_than_allowed_is_refused(tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path, name, image(name=name))
    assert len(read_study(tmp_path, max_files=3)) == 3
    with pytest.raises(LimitExceeded, match="max_study_files"):
        read_study(tmp_path, max_files=2)


def test_a_path_where_nothing_is_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyRefused, match="no file or folder"):
        read_study(tmp_path / "nowhere")


def test_real_series_of_a_scanner_are_ordered_in_space() -> None:
    series = group_by_series(read_study(SHIPPED / "dicomdirtests" / "98892001"))
    ordered = sort_spatially(next(images for images in series.values() if len(images) == 5))
    assert len(ordered) == 5 and heights(ordered) == sorted(heights(ordered))


def test_a_dataset_becomes_a_file_without_being_changed() -> None:
    dataset = pydicom.dcmread(SHIPPED / "CT_small.dcm")
    before = dataset.to_json()
    again = pydicom.dcmread(BytesIO(convert_dataset_to_bytes(dataset)))
    assert again == dataset and dataset.to_json() == before
    assert again.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID and again.preamble == bytes(128)


def test_more_frames_than_any_scanner_makes_are_refused_before_one_is_counted() -> None:
    dataset = image()
    dataset.NumberOfFrames = 2_000_000_000
    with pytest.raises(LimitExceeded, match="MAX_FRAMES"):
        in_memory(dataset)
