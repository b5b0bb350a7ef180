"""Every object made of every image of pydicom's package is valid by dciodvfy: no fault of ours, and none inherited."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.dicom.reading.instances import read_instance
from gateway.dicom.volumes.images import image, volume
from tests.dicom.corpus.outcomes import expected, files, name_of
from tests.dicom.writing.object_cases import every_kind, written
from tests.dicom.writing.test_objects_validity import new_errors
from tests.require import require

pytestmark = pytest.mark.heavy

REFERENCES = re.compile(
    "StudyInstanceUID has same value as FrameOfReferenceUID"
    "|Shall not be present for Referenced SOP Class that is not multi-frame - attribute <ReferencedFrameNumber>"
)
"""Faults of a source that its objects repeat, since they have to refer to it as it is: one UID for its study and its
frame of reference, and several frames in an object of a class for one."""

IN_EACH_RUN = {
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "examples_rgb_color.dcm",
    "examples_ybr_color.dcm",
    "examples_overlay.dcm",
    "examples_palette.dcm",
    "rtdose_1frame.dcm",
    "693_J2KI.dcm",
    "chrH32.dcm",
    "chrFrenMulti.dcm",
    "6154",
    "CT5N",
    "SC_rgb_rle_2frame.dcm",
    "4467",
}
"""One file of each modality and of each fault; all others are slow, for their number."""


def sources() -> list[Any]:
    """The files of which objects are made."""
    usable = [path for path in files() if expected(path)["/images dicom"] == "200 equal"]
    return [
        pytest.param(path, id=name_of(path), marks=() if path.name in IN_EACH_RUN else pytest.mark.slow)
        for path in usable
    ]


def test_each_file_of_the_short_list_exists() -> None:
    assert {path.name for path in files()} >= IN_EACH_RUN


@pytest.mark.parametrize("path", sources())
def test_a_validator_finds_nothing_in_any_object_of_a_file(path: Path, tmp_path: Path) -> None:
    require(shutil.which("dciodvfy"), "dciodvfy of dicom3tools is not installed")
    instances = [read_instance(each) for each in (sorted(path.iterdir()) if path.is_dir() else [path])]
    placed = expected(path)["/volume dicom"] == "200 equal"
    of = volume(instances) if placed else image(instances[0], instances[0].frames - 1)
    faults = new_errors(tmp_path, written(every_kind(of), of), set())
    assert {number: ours for number, lines in faults.items() if (ours := set(filter(is_ours, lines)))} == {}


def is_ours(line: str) -> bool:
    return REFERENCES.search(line) is None
