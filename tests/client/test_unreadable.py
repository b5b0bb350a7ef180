"""A folder with a hole: an unreadable part of the study is reported, and never left out silently."""

import gzip
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image as Picture

from gateway import Gateway, LocalClient, Mask, Volume
from gateway.client import StudyUnreadable
from gateway.dicom.samples import phantom
from gateway.errors import StudyRefused

SLICES = 4
app = Gateway(__name__)


@app.model("/")
def whole(volume: Volume) -> Mask:
    """A mask as large as the volume."""
    return Mask(np.ones(volume.shape, bool), "all")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Four slices, named IM0.dcm to IM3.dcm in spatial order."""
    folder = tmp_path / "study"
    for index, path in enumerate(phantom.write(folder, slices=SLICES, size=16)):
        path.rename(folder / f"IM{index}.dcm")
    return folder


@pytest.fixture
def client(tmp_path: Path) -> Iterator[LocalClient]:
    with LocalClient(tmp_path / "store", app, cache=tmp_path / "cache") as client:
        yield client


def without_uid(data: bytes) -> bytes:
    uid = str(pydicom.dcmread(io.BytesIO(data)).SeriesInstanceUID).encode()
    return data.replace(uid, b"x" * len(uid))


HOLES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "without preamble": lambda data: data[132:],
    "magic first": lambda data: data[128:],
    "cut off": lambda data: data[:100],
    "cut off in its header": lambda data: data[:300],
    "gzip": gzip.compress,
    "an error page": lambda data: b"<!DOCTYPE html><html>502 Bad Gateway</html>",
    "other bytes": lambda data: bytes(1000),
}


@pytest.mark.parametrize("kind", HOLES)
def test_an_unreadable_slice_is_named_and_refuses_the_study(client: LocalClient, study: Path, kind: str) -> None:
    last = study / "IM3.dcm"
    last.write_bytes(HOLES[kind](last.read_bytes()))
    for ask in (client.infer, client.upload, client.preflight, lambda study: client.infer([study])):
        with pytest.raises(StudyUnreadable, match=r"IM3\.dcm") as refused:
            ask(study)
        assert [one.file for one in refused.value.files] == ["IM3.dcm"]
        assert str(study) not in str(refused.value)
    assert client.studies() == [] or kind == "cut off in its header"


@pytest.mark.parametrize("kind", HOLES)
def test_an_unreadable_slice_is_left_out_where_requested(client: LocalClient, study: Path, kind: str) -> None:
    first = study / "IM0.dcm"
    first.write_bytes(HOLES[kind](first.read_bytes()))
    result = client.infer(study, skip_unreadable=True)
    assert [one.file for one in result.skipped] == ["IM0.dcm"]
    assert result.masks[0].shape[0] == SLICES - 1
    kept = client.upload(study, skip_unreadable=True)
    assert (len(kept.entries), [one.file for one in kept.skipped], kept.ignored) == (SLICES - 1, ["IM0.dcm"], 0)
    assert client.infer(kept).skipped == kept.skipped


@pytest.mark.parametrize("name", ["IM4", "0004", "1.2.840.4", "deep/IM4"])
def test_without_extensions_a_name_with_a_number_is_a_part_of_the_study(
    client: LocalClient, study: Path, name: str
) -> None:
    for path in list(study.iterdir()):
        path.rename(path.with_suffix(""))
    (study / name).parent.mkdir(exist_ok=True)
    (study / name).touch()
    for ask in (client.infer, client.upload):
        with pytest.raises(StudyUnreadable) as refused:
            ask(study)
        assert [one.file for one in refused.value.files] == [name]


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: data[132:]])
def test_dicom_that_is_packed_is_a_part_of_the_study_under_any_name(
    client: LocalClient, study: Path, pack: Callable[[bytes], bytes]
) -> None:
    (study / "last").write_bytes(pack((study / "IM3.dcm").read_bytes()))
    for ask in (client.infer, client.upload):
        with pytest.raises(StudyUnreadable, match="last: "):
            ask(study)


@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_files_of_other_kinds_are_left_out_as_ever(client: LocalClient, study: Path, suffix: str) -> None:
    for path in list(study.iterdir()):
        path.rename(path.with_suffix(suffix))
    others = ["Thumbs.db", ".DS_Store", "._IM0.dcm", "README.txt", "README", "MD5SUMS", "report.pdf", "index.html"]
    for name in [*others, "notes.gz", "empty.log"]:
        (study / name).write_bytes(gzip.compress(b"notes" * 99) if name == "notes.gz" else b"")
    (study / "DICOMDIR").touch()
    assert client.infer(study).masks[0].shape[0] == SLICES
    kept = client.upload(study)
    assert (len(kept.entries), kept.ignored) == (SLICES, 11)


def test_a_link_that_leads_nowhere_and_a_pipe_are_holes_by_their_names(client: LocalClient, study: Path) -> None:
    (study / "IM4.dcm").symlink_to(study / "gone.dcm")
    os.mkfifo(study / "IM5.dcm")
    for ask in (client.infer, client.upload):
        with pytest.raises(StudyUnreadable) as refused:
            ask(study)
        assert [one.file for one in refused.value.files] == ["IM4.dcm", "IM5.dcm"]


def test_all_holes_are_listed(client: LocalClient, study: Path) -> None:
    for index in range(10, 30):
        (study / f"IM{index}.dcm").touch()
    with pytest.raises(StudyUnreadable, match="And 15 more") as refused:
        client.infer(study)
    assert len(refused.value.files) == 20


def test_an_upload_names_the_file_with_an_invalid_uid(client: LocalClient, study: Path) -> None:
    (study / "IM2.dcm").write_bytes(without_uid((study / "IM2.dcm").read_bytes()))
    with pytest.raises(StudyUnreadable, match=r"IM2\.dcm: Its Series Instance UID is not a UID"):
        client.upload(study)
    assert [one.file for one in client.upload(study, skip_unreadable=True).skipped] == ["IM2.dcm"]


def test_a_hole_is_found_again_where_digests_are_remembered(client: LocalClient, study: Path) -> None:
    for path in study.iterdir():
        os.utime(path, (1e9, 1e9))
    (study / "IM3.dcm").write_bytes(b"<html>")
    os.utime(study / "IM3.dcm", (1e9, 1e9))
    client.upload(study, skip_unreadable=True)
    with pytest.raises(StudyUnreadable):
        client.upload(study)


def test_a_broken_picture_among_pictures_is_named(client: LocalClient, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("1.png", "2.png"):
        Picture.fromarray(np.zeros((8, 8), np.uint8)).save(folder / name)
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:40])
    (folder / "._1.png").write_bytes(b"of a file manager")
    with pytest.raises(StudyUnreadable) as refused:
        client.infer(folder)
    assert [one.file for one in refused.value.files] == ["2.png"]


def test_a_file_of_a_list_is_named_where_it_is_no_instance(client: LocalClient, study: Path) -> None:
    (study / "letter.txt").write_text("dear colleague")
    with pytest.raises(StudyUnreadable) as refused:
        client.infer([study / "IM0.dcm", study / "letter.txt", b"bytes"])
    assert [one.file for one in refused.value.files] == ["letter.txt", "File 3"]


def test_a_study_of_holes_alone_is_no_study(client: LocalClient, study: Path) -> None:
    for path in study.iterdir():
        path.write_bytes(b"")
    for ask in (client.infer, client.upload):
        with pytest.raises(StudyRefused, match="no DICOM file"):
            ask(study, skip_unreadable=True)
