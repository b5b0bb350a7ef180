"""Requirements of a model: matching studies are served, others refused with one sentence for each reason."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from pydicom import Dataset
from pydicom.uid import ComprehensiveSRStorage, RawDataStorage

from gateway import Classification, Image, Mask, Requires, Series, Study, Volume
from tests.binding.asking import SLICES, Answer, ask, series, serving

SECRET = "DOE^JANE"


def chosen(ct: Volume) -> Classification:
    return Classification({"series": ct.series_instance_uid, "slices": len(ct.instances)})


def asked(files: Sequence[Dataset], **requires: Any) -> Answer:
    return ask(serving(chosen, requires=Requires(**requires)), files=files)


def refused(files: Sequence[Dataset], **requires: Any) -> str:
    answer = asked(files, **requires)
    assert answer.status == 422
    assert answer.json["type"] == "urn:gateway:problem:study-refused"
    assert SECRET not in str(answer.json)
    return str(answer.json["detail"])


def taken(files: Sequence[Dataset], **requires: Any) -> int:
    answer = asked(files, **requires)
    assert answer.status == 200, answer.json
    return int(answer.json["study_ml_json"]["series"].rsplit(".")[-1])


def test_a_matching_study_is_served() -> None:
    assert taken(series(), modality="CT", min_slices=SLICES, uniform_spacing=True, description="chest") == 1


def test_a_study_of_another_modality_is_refused_with_both_modalities() -> None:
    assert refused(series(Modality="MR"), modality="CT") == "This model needs CT; the study holds MR."
    assert refused(series(Modality="MR"), modality=("CT", "PT")) == "This model needs CT or PT; the study holds MR."


def test_a_modality_outside_the_standard_is_not_repeated() -> None:
    detail = refused(series(Modality="JANE"), modality="CT")
    assert detail == "This model needs CT; the study holds images of no known modality."


def test_too_few_slices_are_counted() -> None:
    assert refused(series(), min_slices=20) == "This model needs a series of at least 20 slices; the series has 4."
    two = series() + series(2, slices=6)
    assert refused(two, min_slices=20) == "This model needs a series of at least 20 slices; the longest of 2 has 6."


def test_each_reason_has_its_sentence() -> None:
    answer = asked(series(Modality="MR"), modality="CT", min_slices=20)
    assert answer.json["reasons"] == [
        "This model needs CT; the study holds MR.",
        "This model needs a series of at least 20 slices; the series has 4.",
    ]
    assert answer.json["detail"] == " ".join(answer.json["reasons"])


def test_conditions_that_no_single_series_meets_are_named() -> None:
    files = series(Modality="MR", slices=8) + series(2)
    detail = refused(files, modality="CT", min_slices=8)
    assert detail.startswith("This model needs CT and a series of at least 8 slices in one series; each is found, but")


def test_a_contrast_phase_is_known_by_its_description_in_any_case() -> None:
    files = series(SeriesDescription="Thorax ARTERIAL") + series(2, SeriesDescription="Thorax venous")
    assert taken(files, description="arterial|art\\b") == 1
    assert taken(files, description=re.compile("venous")) == 2


def test_a_missing_phase_is_reported_in_the_authors_words_without_any_description() -> None:
    files = series(SeriesDescription=f"native {SECRET}")
    detail = refused(files, description="arterial", described_as="an arterial phase")
    assert detail == "This model needs an arterial phase; the description of the series does not say so."
    both = files + series(2, SeriesDescription=SECRET)
    assert refused(both, description="art") == (
        "This model needs a series described as art; none of the 2 series is described so."
    )


def test_several_matching_series_are_refused_without_a_rule_that_chooses() -> None:
    detail = refused(series() + series(2), modality="CT")
    assert detail == "This model takes one series; the study holds 2 that fit. Send the one to use."


def test_the_longest_series_is_chosen_by_rule() -> None:
    assert taken(series() + series(2, slices=6) + series(3), choose="most slices") == 2


def test_a_tie_is_refused_and_not_decided_by_order() -> None:
    detail = refused(series() + series(2), choose="most slices")
    assert detail == "Of 2 series that fit, 2 have the most slices, 4 each. Send the one to use."


def test_a_series_is_chosen_by_its_description() -> None:
    files = series(SeriesDescription="lung kernel") + series(2, SeriesDescription="soft kernel")
    assert taken(files, choose="soft") == 2
    assert "0 have the description" in refused(files, choose="bone")


def test_a_series_is_chosen_by_a_function() -> None:
    assert taken(series() + series(2), choose=lambda fitting: fitting[-1]) == 2


def test_a_rule_is_not_called_where_one_series_matches() -> None:
    assert taken(series(Modality="MR") + series(2), modality="CT", choose="nothing that matches") == 2


def test_bounds_on_the_number_of_series_hold() -> None:
    def count(study: Study) -> Classification:
        return Classification({"series": len(study.series)})

    app = serving(count, requires=Requires(modality="CT", min_series=2, max_series=2))
    assert ask(app, files=series() + series(2)).json["study_ml_json"] == {"series": 2}
    few, many = ask(app, files=series()), ask(app, files=series() + series(2) + series(3))
    assert few.json["detail"] == "This model needs at least 2 series that fit; the study holds 1."
    assert many.json["detail"] == "This model takes at most 2 series; the study holds 3 that fit."


def test_a_segmentation_in_the_study_is_a_candidate_only_where_required() -> None:
    files = series() + series(2, Modality="SEG")
    assert taken(files) == 1
    assert taken(files, modality="SEG") == 2


def test_uneven_slices_are_measured() -> None:
    def count(one: Series) -> Classification:
        return Classification({"slices": len(one.instances)})

    uneven = series(slices=5)
    del uneven[3]
    assert ask(serving(count), files=uneven).json["study_ml_json"] == {"slices": 4}
    answer = ask(serving(count, requires=Requires(uniform_spacing=True)), files=uneven)
    needed = "This model needs evenly spaced slices; from one to the next it is 32.00 to 64.00 mm."
    assert answer.json["detail"] == needed
    assert ask(serving(chosen), files=uneven).status == 422  # a Volume is never made of uneven slices


def test_a_recommended_condition_travels_with_the_answer_and_refuses_nothing() -> None:
    def find(ct: Volume) -> Mask:
        return Mask(ct.array > 0)

    recommended = Requires(min_slices=30, modality="CT")
    answer = ask(serving(find, requires=Requires(modality="CT", recommended=recommended)), files=series())
    assert answer.json["parts"][0]["dicomConformance"]["recommended"] == [
        {"description": "CT", "compliant": True},
        {"description": "a series of at least 30 slices", "compliant": False},
    ]


def test_two_volumes_are_distinguished_by_their_requirements() -> None:
    def find(
        late: Annotated[Volume, Requires(description="venous")], early: Annotated[Volume, Requires(description="art")]
    ) -> Classification:
        return Classification({"late": late.series_instance_uid, "early": early.series_instance_uid})

    files = series(SeriesDescription="arterial") + series(2, SeriesDescription="venous")
    assert ask(serving(find), files=files).json["study_ml_json"] == {"late": "1.2.3.2", "early": "1.2.3.1"}


def test_one_series_is_never_used_twice() -> None:
    def find(a: Volume, b: Volume | None) -> Classification:
        return Classification({"b": b is not None})

    assert ask(serving(find), files=series()).json["study_ml_json"] == {"b": False}


def test_a_request_without_images_is_refused_by_a_model_of_images() -> None:
    detail = "This model needs images; the request holds no DICOM image."
    assert refused([]) == detail
    assert "holds no DICOM image, but Comprehensive SR Storage (1). Send" in refused([report(series(slices=1)[0])])
    broken = series(slices=1)[0]
    del broken.Rows
    assert "Rows (0028,0010)" in refused([broken])


def report(dataset: Dataset) -> Dataset:
    """An image as if it were a report beside the images of its series."""
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(dataset, keyword)
    dataset.SOPClassUID, dataset.Modality, dataset.SOPInstanceUID = ComprehensiveSRStorage, "SR", "1.2.3.99"
    return dataset


@pytest.mark.parametrize("kind", [Study, Series, list[Series]])
def test_a_study_without_images_is_taken_by_a_model_of_instances(kind: Any) -> None:
    def look(taken: kind) -> Classification:
        return Classification({"taken": True})

    answer = ask(serving(look), files=[report(series(slices=1)[0])])
    assert answer.status == 200, answer.json
    assert ask(serving(look)).json["detail"] == "This model needs DICOM instances; the request holds no DICOM instance."


def test_every_series_is_taken_and_one_series_is_that_of_the_images() -> None:
    def every(series: list[Series]) -> Classification:
        return Classification({"count": len(series)})

    def one(series: Series) -> Classification:
        return Classification({"modality": series.modality})

    beside = report(series(2, slices=1)[0])
    assert ask(serving(every), files=[beside, *series()]).json["study_ml_json"] == {"count": 2}
    assert ask(serving(one), files=[beside, *series()]).json["study_ml_json"] == {"modality": "CT"}


@pytest.mark.parametrize("sop_class", [RawDataStorage, ComprehensiveSRStorage, "1.2.840.113619.4.99"])
@pytest.mark.parametrize("kind", [Volume, list[Image]])
def test_an_object_without_an_image_is_left_out_of_its_series_and_the_answer_says_so(kind: Any, sop_class: str) -> None:
    def look(taken: kind) -> Classification:
        return Classification({"instances": len(taken) if isinstance(taken, list) else len(taken.instances)})

    beside = report(series(slices=1)[0])
    beside.SOPClassUID = sop_class
    answer = ask(serving(look), files=[beside, *series()])
    assert answer.status == 200, answer.json
    assert answer.json["study_ml_json"]["instances"] == SLICES
    assert "left out of the series" in str(answer.json["dicomConformance"])


@pytest.mark.parametrize("kind", [Volume, list[Image]])
def test_an_image_without_a_size_is_a_hole_and_not_left_out(kind: Any) -> None:
    def look(taken: kind) -> Classification:
        return Classification({})

    slices = series()
    del slices[1].Rows
    answer = ask(serving(look), files=slices)
    assert answer.status == 422
    assert "Rows (0028,0010)" in answer.json["detail"]


def test_each_description_of_a_series_matches_not_only_the_first() -> None:
    mixed = series()
    for dataset, described in zip(mixed, ["arterial", "arterial", "venous", "venous"], strict=True):
        dataset.SeriesDescription = described
    assert asked(mixed, description="arterial").status == 422
    assert asked(mixed, description="arterial|venous").status == 200


def test_one_image_is_taken_as_an_image_and_several_are_refused() -> None:
    def find(image: Image) -> Classification:
        return Classification({"shape": list(image.array.shape)})

    assert ask(serving(find), files=series(slices=1)).json["study_ml_json"] == {"shape": [16, 16]}
    answer = ask(serving(find), files=series())
    assert (answer.status, answer.json["detail"]) == (
        422,
        "This model takes one image; the series holds 4. Send the one to use.",
    )


@pytest.mark.parametrize("requires", [None, Requires(modality="CT")])
def test_all_images_of_all_series_that_fit_are_taken_as_a_list(requires: Requires | None) -> None:
    def find(images: list[Image]) -> Classification:
        return Classification({"series": [one.series_instance_uid for one in images]})

    files = series() + series(2, Modality="MR" if requires else "CT")
    found = ask(serving(find, requires=requires), files=files).json["study_ml_json"]["series"]
    assert found == ["1.2.3.1"] * 4 + ([] if requires else ["1.2.3.2"] * 4)
