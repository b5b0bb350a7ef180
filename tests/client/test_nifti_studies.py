"""A NIfTI file is a study for every verb of the client, and its findings lie on its own grid."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from gateway import (
    Ask,
    BoundingBox,
    Clicks,
    Gateway,
    Interactive,
    LinearMeasurement,
    LocalClient,
    Mask,
    Requires,
    Volume,
)
from gateway.client import Refused, StudyUnreadable
from gateway.dicom.samples import phantom
from gateway.errors import StudyRefused
from tests.dicom.volumes.nifti_files import VOXELS, nifti, packed

RAS = np.diag([2.0, 2, 3, 1])
"""The way of most writers: columns run to the right and rows to the front, against those of DICOM."""
app = Gateway(__name__)


@app.model("/dense")
def dense(volume: Volume, level: float = 5) -> list[Mask | BoundingBox | LinearMeasurement]:
    return [
        Mask(volume.array > level, "Dense"),
        BoundingBox("Box", (0, 0), (2, 1), slice=1),
        LinearMeasurement("Length", (0.0, 0.0, 0.0), (3.0, 4.0, 0.0), slice=0),
    ]


@app.model("/both")
def both(volumes: list[Volume]) -> list[Mask]:
    return [Mask(one.array > 5, of=one) for one in volumes]


@app.model("/ct", requires=Requires(modality="CT"))
def of_ct(volume: Volume) -> Mask:
    return Mask(volume.array > 5)


@app.model("/clicks")
def clicked(volume: Volume) -> Interactive[Mask]:
    region = np.zeros(volume.shape, bool)
    clicks = Clicks()
    while not clicks.finished:
        clicks = yield Ask("Click.", kind="clicks", shown=Mask(region))
        for click in clicks.points:
            region[click.point.voxel] = True
    return Mask(region)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalClient]:
    with LocalClient(tmp_path_factory.mktemp("store"), app, cache=tmp_path_factory.mktemp("cache")) as client:
        yield client


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "study/scan.nii.gz"
    path.parent.mkdir()
    path.write_bytes(packed(nifti(affine=RAS)))
    return path


def forms(scan: Path) -> list[Any]:
    """The same file as a path, in a list, in a folder beside other files, as bytes and open."""
    (scan.parent / "notes.txt").write_text("no image")
    return [scan, str(scan), [scan], scan.parent, [scan.read_bytes()], [BytesIO(scan.read_bytes())]]


def test_findings_lie_on_the_grid_of_the_file(client: LocalClient, scan: Path, tmp_path: Path) -> None:
    for study in forms(scan):
        result = client.infer(study, "/dense")
        mask, box, length = result.findings
        assert isinstance(mask, Mask) and isinstance(box, BoundingBox) and isinstance(length, LinearMeasurement)
        assert np.array_equal(mask.array, VOXELS.T[:, ::-1, ::-1] > 5)
        np.testing.assert_allclose(mask.of.affine @ (0, 0, 0, 1), (-6, -4, 0, 1))
        (path,) = result.to_nifti(tmp_path / "out")
        found: Any = nibabel.load(path)
        assert np.array_equal(found.dataobj, VOXELS > 5)
        np.testing.assert_allclose(found.affine, RAS)


def test_pictures_are_drawn_on_its_slices(client: LocalClient, scan: Path, tmp_path: Path) -> None:
    sheet, *pictures = client.infer(scan, "/dense").to_png(tmp_path / "out")
    assert sheet.name == "contact_sheet.png" and len(pictures) == 2
    assert Picture.open(pictures[0]).getextrema() != ((0, 0),) * 3


def test_a_run_and_a_session_take_it(client: LocalClient, scan: Path) -> None:
    run = client.submit(scan, "/dense")
    assert np.array_equal(run.result().masks[0], VOXELS.T[:, ::-1, ::-1] > 5)
    with client.session(scan, "/clicks") as session:
        session.click((1, 2, 3)).click((0, 0, 0))
        assert np.argwhere(session.mask).tolist() == [[0, 0, 0], [1, 2, 3]]
        (mask,) = session.finish().findings
        assert isinstance(mask, Mask) and mask.of.shape == (2, 3, 4)


def test_preflight_sends_its_header_alone(client: LocalClient, scan: Path) -> None:
    unknown, stated = (client.preflight(scan, ["/ct", "/dense"], modality=modality) for modality in ("", "CT"))
    assert [one.accepted for one in unknown] == [False, True]
    assert [one.accepted for one in stated] == [True, True]


def test_its_modality_is_a_parameter(client: LocalClient, scan: Path) -> None:
    with pytest.raises(Refused, match="modality"):
        client.infer(scan, "/ct")
    assert client.infer(scan, "/ct", {"$modality": "CT"}).masks[0].any()


def test_what_is_not_one_study_is_refused_before_it_is_sent(client: LocalClient, scan: Path, tmp_path: Path) -> None:
    slices = phantom.write(tmp_path / "dicom", slices=2, size=8)
    with pytest.raises(StudyRefused, match="NIfTI"):
        client.infer([scan, *slices], "/dense")
    Picture.new("L", (4, 4)).save(tmp_path / "1.png")
    with pytest.raises(StudyRefused, match="NIfTI"):
        client.infer([tmp_path / "1.png", scan], "/dense")
    with pytest.raises(StudyRefused, match="dim"):
        scan.write_bytes(nifti(np.zeros((2, 2, 2, 2), np.int16)))
        client.infer(scan, "/dense")
    (tmp_path / "dicom/letter.txt").write_text("no image")
    with pytest.raises(StudyUnreadable):
        client.infer([tmp_path / "dicom/letter.txt"], "/dense")


def test_the_same_file_twice_is_two_volumes_on_one_grid(client: LocalClient, scan: Path, tmp_path: Path) -> None:
    result = client.infer([scan, scan], "/both")
    assert [type(one.of).__name__ for one in result.findings if isinstance(one, Mask)] == ["NiftiVolume"] * 2
    assert result.to_png(tmp_path / "out") and result.to_nifti(tmp_path / "out")


def test_a_file_beside_dicom_in_a_folder_is_left_out(client: LocalClient, scan: Path) -> None:
    phantom.write(scan.parent / "dicom", slices=2, size=8)
    assert client.infer(scan.parent, "/dense").masks[0].shape == (2, 8, 8)
