"""A study that is not one even grid of grey voxels is refused, with what was found and what is needed."""

from collections.abc import Callable

import numpy as np
import pytest
from pydicom import Dataset

from gateway.dicom.decoding.loading import MAX_VOLUME_BYTES
from gateway.dicom.volumes.study import Volume, image, split, study, volume
from gateway.errors import LimitExceeded, StudyRefused
from tests.dicom.volumes.volume_series import COLUMNS, PATIENT, ROWS, multi_frame, parts, rotation, series, slice_at


def volume_of(datasets: list[Dataset]) -> Volume:
    return volume(split(parts(datasets))[0])


def changed(**attributes: object) -> list[Dataset]:
    """Five slices, the third with other attributes."""
    slices = series()
    for keyword, value in attributes.items():
        if value is None:
            delattr(slices[2], keyword)
        else:
            setattr(slices[2], keyword, value)
    return slices


def without_place(count: int) -> Dataset:
    dataset = multi_frame(series(count))
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:-1]
    return dataset


def aside() -> list[Dataset]:
    slices = series()
    slices[2].ImagePositionPatient = [*slices[2].ImagePositionPatient[:1], 23.0, slices[2].ImagePositionPatient[2]]
    return slices


def nudged() -> list[Dataset]:
    slices = series(6)
    slices[2].ImagePositionPatient = [*slices[2].ImagePositionPatient[:2], 10.8]
    return slices


REFUSED: dict[str, tuple[Callable[[], list[Dataset]], str]] = {
    "a missing slice": (lambda: series(6)[:3] + series(6)[4:], r"missing: .* 2\.50 to 5\.00 mm"),
    "an uneven step": (nudged, r"not evenly spaced: .* 1\.70 to 3\.30 mm"),
    "a duplicate slice": (lambda: series() + series()[2:3], "1 of 5 positions hold several images"),
    "a slice sent twice": (
        lambda: (lambda five: [*five, five[2]])(series()),
        "1 images have the SOP Instance UID of another",
    ),
    "time points": (lambda: series() + series(), "2 images at each of 5 positions"),
    "a slice aside": (aside, r"shifted against each other .* 3\.00 mm"),
    "two orientations": (lambda: series() + series(turn=rotation(90, 0, 0)), "different directions"),
    "one slice turned": (
        lambda: changed(ImageOrientationPatient=[0.9998, 0.02, 0, -0.02, 0.9998, 0]),
        "different directions",
    ),
    "two series": (lambda: changed(SeriesInstanceUID="1.2.3"), "belong to 2 series"),
    "two frames of reference": (lambda: changed(FrameOfReferenceUID="1.2.3"), "2 frames of reference"),
    "another size": (lambda: changed(Rows=40, Columns=34), "differ in rows or columns"),
    "another spacing": (lambda: changed(PixelSpacing=[0.75, 0.51]), "differ in pixel spacing"),
    "no spacing": (lambda: changed(PixelSpacing=None), "do not state their pixel spacing"),
    "no position": (lambda: changed(ImagePositionPatient=None), "1 of 5 images do not say where they lie"),
    "a skewed orientation": (lambda: changed(ImageOrientationPatient=[1, 0, 0, 1, 1, 0]), "1 of 5 images do not say"),
    "another unit": (lambda: changed(RescaleType="US"), "different units"),
    "inverted grey": (lambda: changed(PhotometricInterpretation="MONOCHROME1"), "the largest value is black"),
    "colour": (lambda: changed(PhotometricInterpretation="RGB"), "in colour"),
    "frames without places": (lambda: [without_place(4)], "does not say where each of them lies"),
    "nothing at all": (list, "There are no images"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_before_any_pixel_is_decoded(kind: str) -> None:
    make, sentence = REFUSED[kind]
    with pytest.raises(StudyRefused, match=sentence) as caught:
        volume_of(make())
    assert "a volume needs" in caught.value.detail
    assert PATIENT not in caught.value.detail


def test_every_reason_has_its_own_sentence() -> None:
    slices = changed(SeriesInstanceUID="1.2.3", PhotometricInterpretation="RGB")
    with pytest.raises(StudyRefused) as caught:
        volume_of(slices)
    reasons = caught.value.members["reasons"]
    assert len(reasons) == 2
    assert caught.value.detail == " ".join(reasons)


def test_a_hundredth_of_a_millimetre_is_no_uneven_step() -> None:
    slices = series()
    slices[2].ImagePositionPatient = [*slices[2].ImagePositionPatient[:2], 10.009]
    assert volume_of(slices).shape[0] == 5


def test_each_slice_may_have_its_own_rescale_as_in_pet() -> None:
    slices = series(3)
    for slope, one in enumerate(slices, start=1):
        one.RescaleSlope, one.RescaleIntercept = slope / 2, 0
    made = volume_of(slices)
    assert made.array[:, 0, 1].tolist() == [0.5, 11.0, 31.5]
    assert made.remarks == ("The rescale differs from slice to slice; each was given its own.",)


def test_a_stated_distance_other_than_the_measured_one_is_reported() -> None:
    slices = series()
    for one in slices:
        one.SpacingBetweenSlices = 1.25
    assert volume_of(slices).remarks == ("The header states 1.25 mm between slices, their positions say 2.50 mm.",)


def test_a_volume_larger_than_the_limit_is_refused_before_memory_is_allocated() -> None:
    made = volume_of([slice_at((0, 0, 0), Rows=60000, Columns=60000)])
    assert MAX_VOLUME_BYTES < 60000 * 60000 * 4
    with pytest.raises(LimitExceeded, match="MAX_VOLUME_BYTES"):
        _ = made.array


def test_a_header_that_states_a_billion_frames_is_refused_at_once() -> None:
    with pytest.raises(LimitExceeded, match="MAX_FRAMES"):
        volume_of([slice_at((0, 0, 0), NumberOfFrames=2**30)])
    with pytest.raises(StudyRefused, match="not as many bytes"):
        volume_of([slice_at((0, 0, 0), NumberOfFrames=2**16)])


@pytest.mark.parametrize("frame", [-1, 1])
def test_an_image_has_no_frame_beyond_its_own(frame: int) -> None:
    (instance,), _ = split(parts([slice_at((0, 0, 0))]))
    with pytest.raises(StudyRefused, match=f"no frame {frame}: it has 1"):
        image(instance, frame)


def test_instances_of_two_studies_are_not_one() -> None:
    with pytest.raises(StudyRefused, match="belong to 2 studies"):
        study(parts([slice_at((0, 0, 0)), slice_at((0, 0, 1), StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4")]))
    with pytest.raises(StudyRefused, match="no DICOM instance"):
        study([])


def test_the_repr_of_a_volume_has_nothing_of_the_patient() -> None:
    whole = study(parts(series()))
    shown = [whole, whole.series[0], whole.series[0].volume(), image(whole.instances[0])]
    assert not any(PATIENT in repr(one) or "MRN-4711" in repr(one) for one in shown)
    assert np.array_equal(shown[2].shape, (5, ROWS, COLUMNS))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("StudyInstanceUID", "1.2.3"), ("StudyInstanceUID", None), ("PatientID", "4712"), ("Modality", "MR")],
)
def test_an_instance_of_another_study_patient_or_modality_within_a_series_is_refused(
    keyword: str, value: str | None
) -> None:
    with pytest.raises(StudyRefused):
        study(parts(changed(**{keyword: value})))


def test_an_instance_without_a_patient_is_not_one_of_another_patient() -> None:
    assert len(study(parts(changed(PatientID=None))).instances) == 5
