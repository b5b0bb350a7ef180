"""Every kind of object under the validator of dicom3tools, and under our own look before it leaves."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from gateway import Mask
from gateway.dicom.writing import checks
from gateway.dicom.writing.objects import objects
from gateway.errors import AnswerInvalid
from tests.dicom.writing.object_cases import (
    PROVENANCE,
    VOLUMES,
    classic,
    every_kind,
    region,
    written,
)
from tests.require import require

VALIDATOR = shutil.which("dciodvfy")


def errors(path: Path) -> set[str]:
    assert VALIDATOR is not None
    ran = subprocess.run([VALIDATOR, str(path)], capture_output=True, text=True, check=False)
    return {line for line in (ran.stdout + ran.stderr).splitlines() if line.startswith("Error")}


def new_errors(folder: Path, files: list[bytes], known: set[str]) -> dict[int, set[str]]:
    found = {}
    for number, data in enumerate(files):
        path = folder / f"{number}.dcm"
        path.write_bytes(data)
        found[number] = errors(path) - known
    return {number: lines for number, lines in found.items() if lines}


@pytest.mark.parametrize("kind", VOLUMES)
def test_no_object_of_a_volume_has_an_error_that_its_source_has_not(kind: str, tmp_path: Path) -> None:
    require(VALIDATOR, "dciodvfy of dicom3tools is not installed")
    of = VOLUMES[kind]()
    known = set()
    for number, instance in enumerate(of.instances):
        path = tmp_path / f"source{number}.dcm"
        path.write_bytes(instance.source.getvalue())
        known |= errors(path)
    assert new_errors(tmp_path, written(every_kind(of), of), known) == {}


def segmentation() -> tuple[Dataset, Any, Any]:
    of = classic()
    (dataset,) = objects([Mask(region(of), "x", of)], source=of.instances, provenance=PROVENANCE)
    return dataset, of.instances, of.frames


def move(dataset: Dataset) -> None:
    position = dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    position.ImagePositionPatient = [0, 0, 0]


def name_a_stranger(dataset: Dataset) -> None:
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID = "1.2.3"


def shorten(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:-2]


def lose_a_plane(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence.pop()


def invent_a_segment(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[-1].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


def empty_the_model(dataset: Dataset) -> None:
    dataset.SoftwareVersions = ""


def resize(dataset: Dataset) -> None:
    dataset.Rows += 1


FAULTS = {
    move: "do not lie on the images",
    name_a_stranger: "1 instances that are not in the request",
    shorten: "pixels have another length",
    lose_a_plane: "another number of planes",
    invent_a_segment: "do not lie on the images",
    empty_the_model: "no SoftwareVersions",
    resize: "another size",
}


def test_a_sound_object_passes_the_look_before_it_leaves() -> None:
    checks.check(*segmentation())


@pytest.mark.parametrize(("spoil", "words"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_an_object_with_a_fault_does_not_leave(spoil: Callable[[Dataset], None], words: str) -> None:
    dataset, source, frames = segmentation()
    spoil(dataset)
    with pytest.raises(AnswerInvalid, match=words):
        checks.check(dataset, source, frames)
