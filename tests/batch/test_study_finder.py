"""The studies of an archive are found wherever their files lie, and nothing is passed over in silence."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gateway.batch.study_finder import find_studies
from gateway.client.errors import SourceUnreadable
from tests.batch.conftest import write_study
from tests.dicom.volumes.nifti_files import nifti, packed


def test_a_study_in_several_folders_is_one(tmp_path: Path) -> None:
    uid = write_study(tmp_path / "one", "a")
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "CT0003.dcm").rename(tmp_path / "two" / "CT0003.dcm")
    (study,) = find_studies(tmp_path)
    assert study.name == uid
    assert sorted(path.parent.name for path in study.files) == ["one", "one", "two"]
    assert study.size == sum(path.stat().st_size for path in study.files)


def test_two_studies_in_one_folder_are_two(tmp_path: Path) -> None:
    uids = {write_study(tmp_path / name, name) for name in ("a", "b")}
    for path in (tmp_path / "b").iterdir():
        path.rename(tmp_path / "a" / f"b{path.name}")
    assert {study.name for study in find_studies(tmp_path)} == uids


def test_a_broken_file_belongs_to_the_studies_of_its_folder(tmp_path: Path) -> None:
    write_study(tmp_path / "a", "a")
    write_study(tmp_path / "b", "b")
    (tmp_path / "a" / "9.dcm").write_bytes(b"no DICOM")
    (tmp_path / "a" / "letter.txt").write_text("not a part of it")
    broken, whole = sorted(find_studies(tmp_path), key=lambda study: -len(study.broken))
    assert [one.file for one in broken.broken] == ["a/9.dcm"]
    assert not whole.broken


def test_a_folder_of_broken_files_alone_is_a_study_that_says_so(tmp_path: Path) -> None:
    write_study(tmp_path / "a", "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.dcm").write_bytes(bytes(128) + b"DICM" + bytes(7))
    found = {study.name: study for study in find_studies(tmp_path)}
    assert not found["b"].files
    assert [one.file for one in found["b"].broken] == ["b/1.dcm"]


def test_a_folder_of_images_is_a_study_in_natural_order(tmp_path: Path) -> None:
    folder = tmp_path / "eyes" / "left"
    folder.mkdir(parents=True)
    for number in (10, 9):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / f"{number}.png")
    (study,) = find_studies(tmp_path)
    assert study.name == "eyes__left"
    assert [path.name for path in study.files] == ["9.png", "10.png"]


def test_an_image_beside_dicom_is_not_a_study(tmp_path: Path) -> None:
    uid = write_study(tmp_path, "a")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "thumbnail.png")
    (study,) = find_studies(tmp_path)
    assert (study.name, len(study.files)) == (uid, 3)


@pytest.mark.parametrize("uid", ["", "../../escape", "...", "1.2/3"])
def test_a_study_instance_uid_never_leads_out_of_the_folder(tmp_path: Path, uid: str) -> None:
    write_study(tmp_path / "a", "a")
    (path, *others) = sorted((tmp_path / "a").iterdir())
    for other in others:
        other.unlink()
    import pydicom

    dataset = pydicom.dcmread(path)
    dataset["StudyInstanceUID"]._value = uid  # pydicom refuses to set what hostile files have
    dataset.save_as(path)
    (study,) = find_studies(tmp_path)
    assert study.name == "a"
    assert "UID" in study.broken[0].reason


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="nowhere"):
        find_studies(tmp_path / "nowhere")


def test_a_nifti_file_without_dicom_beside_it_is_a_study_of_its_own(tmp_path: Path) -> None:
    write_study(tmp_path / "dicom", "a")
    for name in ("one.nii.gz", "deeper/two.nii", "dicom/mask.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(packed(nifti()) if name.endswith("gz") else nifti())
    found = {study.name: study.files for study in find_studies(tmp_path)}
    assert len(found) == 3
    assert found["one"] == (tmp_path / "one.nii.gz",) and found["deeper__two"] == (tmp_path / "deeper/two.nii",)
