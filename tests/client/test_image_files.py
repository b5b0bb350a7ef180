"""A folder of PNG and JPEG images is one study and one series, whatever way it is sent."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from gateway import Classification, Gateway, Image, LocalClient, Series, Study, Volume
from gateway.client import Refused, StudyUnreadable
from gateway.client.image_files import in_natural_order
from gateway.dicom.samples import phantom
from gateway.errors import StudyRefused

FILES = {
    "1.jpg": ("RGB", (12, 8)),
    "2.PNG": ("L", (9, 7)),
    "10.png": ("I;16", (5, 6)),
    "part 2/scan.jpeg": ("L", (4, 4)),
    "part 10/scan.png": ("RGBA", (4, 4)),
}
"""Mode and size (width, height) of image files, in the order of their names."""

ORDER = [(8, 12, 3), (7, 9), (6, 5), (4, 4), (4, 4, 3)]

app = Gateway(__name__)


@app.model("/images")
def images(pictures: list[Image]) -> Classification:
    return Classification({str(index): str(picture.array.shape) for index, picture in enumerate(pictures)})


@app.model("/values")
def values(pictures: list[Image]) -> Classification:
    return Classification({str(index): str(picture.array.max()) for index, picture in enumerate(pictures)})


@app.model("/series")
def series(series: Series) -> Classification:
    return Classification({str(one.instance_number): str(one.rows) for one in series.instances})


@app.model("/study")
def study(study: Study) -> Classification:
    return Classification({"series": len(study.series), "images": len(study.instances)})


@app.model("/volume")
def volume(volume: Volume) -> Classification:
    return Classification({"slices": volume.shape[0]})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalClient]:
    with LocalClient(tmp_path_factory.mktemp("store"), app, cache=tmp_path_factory.mktemp("cache")) as client:
        yield client


def send(client: LocalClient, files: Any) -> Any:
    return files


def upload(client: LocalClient, files: Any) -> Any:
    return client.upload(files)


Way = Callable[[LocalClient, Any], Any]
ways = pytest.mark.parametrize("way", [send, upload])


def draw(file: Path, mode: str = "L", size: tuple[int, int] = (4, 4), tint: int = 0, **options: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    colour = (tint, 20, 30, 255)[: len(mode)] if mode.startswith("RGB") else tint
    Picture.new(mode, size, colour).save(file, **options)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, (mode, size) in FILES.items():
        draw(tmp_path / "images" / name, mode, size)
    return tmp_path / "images"


def labels(client: LocalClient, way: Way, files: Any, route: str) -> dict[str, Any]:
    found: dict[str, Any] = client.infer(way(client, files), route).json["study_ml_json"]
    return found


@ways
def test_a_model_sees_the_images_of_a_folder_in_the_natural_order_of_their_names(
    client: LocalClient, folder: Path, way: Way
) -> None:
    assert list(labels(client, way, folder, "/images").values()) == [str(shape) for shape in ORDER]
    assert labels(client, way, folder, "/study") == {"series": 1, "images": 5}
    assert labels(client, way, folder, "/series") == {str(n): str(s[0]) for n, s in enumerate(ORDER, start=1)}


@ways
def test_files_that_are_named_keep_the_order_given(client: LocalClient, folder: Path, way: Way) -> None:
    files = [folder / "10.png", folder / "1.jpg", folder / "2.PNG"]
    assert list(labels(client, way, files, "/images").values()) == [str(ORDER[2]), str(ORDER[0]), str(ORDER[1])]


@ways
def test_images_are_no_volume_and_the_refusal_names_what_is_missing(
    client: LocalClient, tmp_path: Path, way: Way
) -> None:
    for name in ("1.png", "2.png"):
        draw(tmp_path / "images" / name)
    with pytest.raises(Refused) as refused:
        client.infer(way(client, tmp_path / "images"), "/volume")
    assert refused.value.code == "study-refused"


def test_images_that_are_alike_are_instances_of_their_own(client: LocalClient, tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.png"):
        draw(tmp_path / "images" / name)
    uploaded = client.upload(tmp_path / "images")
    assert len({entry.sop_instance_uid for entry in uploaded.entries}) == len(uploaded.entries) == 3
    assert len(uploaded.study_instance_uids) == len({entry.series_instance_uid for entry in uploaded.entries}) == 1


def test_the_same_folder_is_the_same_study_and_one_with_another_image_is_another(
    client: LocalClient, folder: Path
) -> None:
    draw(folder / "0.png", tint=77)
    first, again = client.upload(folder), client.upload(folder)
    assert (first.sent, again.sent) == (6, 0)
    draw(folder / "11.png")
    other = client.upload(folder)
    assert not {each.sop_instance_uid for each in other.entries} & {each.sop_instance_uid for each in first.entries}
    assert other.study_instance_uids != first.study_instance_uids == again.study_instance_uids


@ways
def test_all_sixteen_bits_of_a_png_reach_the_model(client: LocalClient, tmp_path: Path, way: Way) -> None:
    for number in (1, 2):
        pixels = np.array([[number, 65000 + number]], np.uint16)
        Picture.fromarray(pixels).save(tmp_path / f"{number}.png")
    assert labels(client, way, tmp_path, "/values") == {"0": "65001.0", "1": "65002.0"}


@ways
def test_a_photograph_is_turned_as_its_exif_says(client: LocalClient, tmp_path: Path, way: Way) -> None:
    exif = Picture.Exif()
    exif[0x0112] = 6
    draw(tmp_path / "1.jpg", "RGB", (12, 8), exif=exif)
    draw(tmp_path / "2.jpg", "RGB", (12, 8))
    assert list(labels(client, way, tmp_path, "/images").values()) == ["(12, 8, 3)", "(8, 12, 3)"]


def animated() -> bytes:
    file, frames = BytesIO(), [Picture.new("L", (4, 4), tint) for tint in (0, 90)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


def gif() -> bytes:
    file = BytesIO()
    Picture.new("L", (4, 4)).save(file, "GIF")
    return file.getvalue()


BROKEN = {
    "animated": animated(),
    "no image": b"text",
    "cut off": animated()[:60],
    "of another type": gif(),
    "empty": b"",
}


@ways
@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_an_image_that_cannot_be_read_is_named_or_left_out(
    client: LocalClient, tmp_path: Path, way: Way, data: bytes
) -> None:
    files = [draw(tmp_path / "images" / "1.png"), tmp_path / "images" / "2.png", draw(tmp_path / "images" / "3.png")]
    files[1].write_bytes(data)
    for given in (tmp_path / "images", files):
        with pytest.raises(StudyUnreadable) as refused:
            client.infer(way(client, given), "/images")
        assert [file.file for file in refused.value.files] == ["2.png"]
    result = client.infer(tmp_path / "images", "/images", skip_unreadable=True)
    assert (len(result.source), [file.file for file in result.skipped]) == (2, ["2.png"])
    uploaded = client.upload(tmp_path / "images", skip_unreadable=True)
    assert [entry.sop_instance_uid for entry in uploaded.entries] == [one.sop_instance_uid for one in result.source]


@ways
def test_the_bytes_of_a_file_decide_what_it_is(client: LocalClient, tmp_path: Path, way: Way) -> None:
    (tmp_path / "jpeg").mkdir()
    Picture.new("RGB", (12, 8)).save(tmp_path / "jpeg" / "1.png", "JPEG")
    assert labels(client, way, tmp_path / "jpeg", "/images") == {"0": "(8, 12, 3)"}
    phantom.write(tmp_path / "dicom", slices=1, size=16)
    next((tmp_path / "dicom").iterdir()).rename(tmp_path / "dicom" / "1.png")
    assert labels(client, way, tmp_path / "dicom", "/volume") == {"slices": 1}


@ways
def test_an_image_that_is_named_as_dicom_is_not_left_out_in_silence(
    client: LocalClient, tmp_path: Path, way: Way
) -> None:
    draw(tmp_path / "1.png")
    draw(tmp_path / "2.png").rename(tmp_path / "2.dcm")
    with pytest.raises(StudyUnreadable) as refused:
        client.infer(way(client, tmp_path), "/images")
    assert [(file.file, "PNG" in file.reason) for file in refused.value.files] == [("2.dcm", True)]


@ways
def test_images_beside_dicom_files_belong_to_no_study(client: LocalClient, tmp_path: Path, way: Way) -> None:
    phantom.write(tmp_path, slices=3, size=16)
    draw(tmp_path / "preview.jpg")
    assert labels(client, way, tmp_path, "/study") == {"series": 1, "images": 3}


def test_images_and_dicom_files_that_are_both_named_are_refused(client: LocalClient, tmp_path: Path) -> None:
    phantom.write(tmp_path, slices=1, size=16)
    with pytest.raises(StudyRefused):
        client.infer([next(tmp_path.iterdir()), draw(tmp_path / "photograph.jpg")], "/study")


def test_names_are_sorted_by_the_values_of_their_numbers() -> None:
    names = [
        "1.png",
        "2.png",
        "10.png",
        "A/2.png",
        "a/10.png",
        "b 9/1.png",
        "b 10/1.png",
        "x01.png",
        "x1.png",
        "x2.png",
    ]
    assert [str(path) for path in in_natural_order(map(Path, reversed(names)))] == names
