"""``send`` to a real server: the request that arrives, the files that are written, and the end of each failure."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from tests.cli.conftest import Run
from tests.cli.terminals import seen_by_a_terminal
from tests.client.servers import Said, answer, listening
from tests.conftest import Serve, Server


@pytest.fixture
def sent(run: Run, service: Server, study: Path, tmp_path: Path) -> Any:
    """Send the study with further arguments; return the answer's JSON."""

    def send(*words: object, study: Path | None = study) -> Any:
        given = ["-i", study] if study else []
        ran = run("send", *given, "-o", tmp_path / "out", "-p", service.port, *words)
        assert ran.status == 0, ran.err
        return json.loads((tmp_path / "out" / "response.json").read_text())

    return send


def uids_by_position(study: Path) -> list[str]:
    headers = [pydicom.dcmread(path) for path in study.rglob("*.dcm")]
    return [h.SOPInstanceUID for h in sorted(headers, key=lambda h: float(h.ImagePositionPatient[2]))]


def test_the_slices_of_nested_folders_arrive_in_spatial_order(sent: Any, study: Path) -> None:
    seen = sent()["seen"]
    assert len(seen) == 4
    assert seen in (uids_by_position(study), uids_by_position(study)[::-1])


def test_attachments_arrive_before_the_slices_in_their_order(sent: Any, tmp_path: Path) -> None:
    for name in "xyz":
        (tmp_path / name).write_text(name)
    assert sent("-a", tmp_path / "z", tmp_path / "x", "--attachments", tmp_path / "y")["seen"][:3] == ["z", "x", "y"]


def test_the_request_names_the_study_and_nothing_else(sent: Any, study: Path) -> None:
    header = pydicom.dcmread(next(study.rglob("*.dcm")))
    assert sent()["request"] == {"studyUID": header.StudyInstanceUID}


@pytest.mark.parametrize(
    ("words", "members"),
    [
        (["-c", "find"], {"inference_command": "find"}),
        (["-s"], {"inference_command": "get-probability-mask-3D"}),
        (["-b"], {"inference_command": "get-bounding-box-2d"}),
        (["-cl"], {"inference_command": "get-classification-labels"}),
        (["-s", "-c", "find"], {"inference_command": "find"}),
        (["-S"], {"depth": 4, "height": 16, "width": 16}),
        (["-R", "side=left", "formula=a=b", "-R", "n=1"], {"side": "left", "formula": "a=b", "n": "1"}),
        (["--request_options", "a_b=c_d", "--send_study_size"], {"a_b": "c_d", "depth": 4}),
        (["--inference_command=get_it", "--include_label_plots"], {"inference_command": "get_it"}),
    ],
)
def test_flags_old_and_new_reach_the_request(sent: Any, words: list[str], members: dict[str, Any]) -> None:
    assert members.items() <= sent(*words)["request"].items()


def test_a_whole_url_may_stand_for_the_host(sent: Any, service: Server) -> None:
    assert len(sent("--host", service.url, "-p", 1)["seen"]) == 4


def test_an_answer_becomes_files_and_pictures(run: Run, service: Server, study: Path, tmp_path: Path) -> None:
    ran = run("send", "-i", study, "-o", tmp_path, "-p", service.port, "-r", "mask")
    assert ran.status == 0, ran.err
    assert np.load(tmp_path / "output_masks_1.npy").shape == (1, 4, 16, 16)
    pictures = list(tmp_path.glob("**/*.png"))
    assert len(pictures) == 5
    assert (tmp_path / "contact_sheet.png") in pictures
    assert "answer  1 boolean mask, 1 bounding box" in ran.out
    assert ran.out.count("sha256 ") == 2
    assert ran.out.index("contact_sheet.png") < ran.out.index("response.json")


def test_legacy_masks_are_bare_bytes(sent: Any, tmp_path: Path) -> None:
    sent("--legacy_output", "-r", "/mask")
    assert (tmp_path / "out/output_masks_1.npy").read_bytes() == bytes([1]) * (4 * 16 * 16)


def test_a_secondary_capture_is_written_as_dicom(sent: Any, tmp_path: Path) -> None:
    sent("-r", "/capture")
    assert pydicom.dcmread(tmp_path / "out/sc_0.dcm").Rows == 16


def test_png_and_jpeg_are_sent_as_secondary_captures(sent: Any, tmp_path: Path) -> None:
    folder = tmp_path / "images" / "deep"
    folder.mkdir(parents=True)
    Image.new("L", (20, 10), 7).save(folder / "a.png")
    Image.new("RGB", (20, 10), (1, 2, 3)).save(folder / "B.JPEG")
    (folder / "notes.txt").write_text("not an image")
    said = sent("-s", "-S", study=folder.parent)
    assert len(said["seen"]) == 2
    assert (
        said["request"].items() >= {"inference_command": "get-probability-mask-2D", "height": 10, "width": 20}.items()
    )


def test_the_picture_of_a_png_has_its_name(sent: Any, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("b 2.png", "a.JPG"):
        Image.new("L", (20, 10), 7).save(tmp_path / "images" / name)
    sent(study=tmp_path / "images")
    drawn = {path.name.partition("_")[2] for path in (tmp_path / "out").glob("*.png")}
    assert drawn == {"sheet.png", "b_2.png.png", "a.JPG.png"}


def test_one_file_is_a_study_too(sent: Any, study: Path) -> None:
    assert len(sent(study=next(study.rglob("*.dcm")))["seen"]) == 1


def test_a_study_path_is_read_by_the_server(sent: Any, study: Path) -> None:
    said = sent("--request_study_path", study.name, study=None)
    assert len(said["seen"]) == 4
    assert said["request"] == {"studyPath": study.name}


def test_both_ends_may_agree_on_blake3(run: Run, serve: Serve, study: Path, tmp_path: Path) -> None:
    server = serve("tests.cli.service:app", GATEWAY_DIGEST="blake3")
    ran = run("send", "-i", study, "-o", tmp_path, "-p", server.port, "--digest", "blake3")
    assert ran.status == 0, ran.err
    assert ran.out.count("  blake3 ") == 2
    assert "set them alike" in run("send", "-i", study, "-o", tmp_path, "-p", server.port).err


def test_an_answer_that_breaks_the_protocol_is_saved_and_reported(run: Run, study: Path, tmp_path: Path) -> None:
    box = {"label": "b", "SOPInstanceUID": "1.2", "top_left": [1], "bottom_right": [2, 2]}
    with listening(lambda request: answer(request, {"parts": [], "bounding_boxes_2d": [box]})) as url:
        ran = run("send", "-i", study, "-o", tmp_path, "--host", url)
    assert ran.status == 1
    assert "error: The answer breaks protocol 1.0 and is not drawn. /bounding_boxes_2d/0/top_left: " in ran.err
    assert json.loads((tmp_path / "response.json").read_text())["bounding_boxes_2d"] == [box]
    assert "response.json" in ran.out


def test_a_mask_that_matches_no_image_is_saved_and_reported(run: Run, study: Path, tmp_path: Path) -> None:
    part = {"binary_type": "boolean_mask", "binary_data_shape": {"depth": 3, "height": 1, "width": 1}}
    with listening(lambda request: answer(request, {"parts": [part]}, [("application/binary", bytes(3))])) as url:
        ran = run("send", "-i", study, "-o", tmp_path, "--host", url)
    assert ran.status == 1
    assert "fits no series" in ran.err
    assert (tmp_path / "output_masks_1.npy").exists()


def test_a_terminal_sees_the_upload_and_then_that_the_model_runs(service: Server, study: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "gateway", "send", "-i", study, "-o", tmp_path / "out", "-p", service.port]
    seen = seen_by_a_terminal(words)
    assert seen.index("sending") < seen.index("the model runs") < seen.index("drawing")


# ---- failures: one line, a status, nothing written ----


def failed(run: Run, out: Path, *words: object, status: int = 1) -> str:
    """The one line with which a ``send`` failed."""
    ran = run("send", "-o", out, *words)
    assert ran.status == status, ran
    assert not out.exists() or list(out.iterdir()) == []
    assert ran.out == ""
    lines = [
        line
        for line in ran.err.splitlines()
        if not line.startswith(("sending ", "requesting ", "left out ", "answered "))
    ]
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("error: ")
    return lines[0]


def test_without_a_server_the_status_is_3(run: Run, study: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        line = failed(run, tmp_path / "out", "-i", study, "-p", port, status=3)
    assert f"Cannot connect to 127.0.0.1:{port}" in line


@pytest.mark.parametrize(
    ("route", "text"),
    [
        ("/nowhere", "(status 404)"),
        ("/refuse", "Send one series. (status 422)"),
        ("/fail", "(status 500)"),
        ("/ping", "not multipart/related"),
    ],
)
def test_a_refusal_is_its_detail_and_its_request_id(
    run: Run, service: Server, study: Path, tmp_path: Path, route: str, text: str
) -> None:
    line = failed(run, tmp_path / "out", "-i", study, "-p", service.port, "-r", route)
    assert text in line
    assert "[request " in line
    assert "secret" not in line


def test_a_folder_without_a_study_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    assert "no DICOM file" in failed(run, tmp_path / "out", "-i", tmp_path / "study")
    (tmp_path / "study" / "letter.txt").write_text("dear colleague")
    assert "no DICOM file" in failed(run, tmp_path / "out", "-i", tmp_path / "study")


def test_what_does_not_exist_is_named(run: Run, study: Path, tmp_path: Path) -> None:
    failed(run, tmp_path / "out", "-i", tmp_path / "absent")
    assert "absent.nii" in failed(run, tmp_path / "out", "-i", study, "-a", tmp_path / "absent.nii")


def test_an_unwritable_folder_is_reported_before_anything_is_sent(run: Run, study: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run("send", "-i", study, "-o", tmp_path / "file", "-p", 9)
    assert (ran.status, ran.err) == (1, f"error: {tmp_path / 'file'}: File exists\n")


def test_a_broken_picture_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "PNG" in failed(run, tmp_path / "out", "-i", tmp_path / "a.png")


def test_a_study_path_outside_the_study_root_is_refused(run: Run, service: Server, tmp_path: Path) -> None:
    line = failed(run, tmp_path / "out", "--request-study-path", "/etc", "-p", service.port)
    assert "(status 403)" in line


@pytest.mark.parametrize("lie", ["0" * 64 + ":" + "0" * 64, ""])
def test_an_answer_that_lies_about_its_hashes_is_not_written(run: Run, study: Path, tmp_path: Path, lie: str) -> None:
    with listening(lambda request: answer(request, {"parts": []}, hashes=lie)) as url:
        line = failed(run, tmp_path / "out", "-i", study, "--host", url)
    assert "digest" in line or "hashes" in line


def test_a_mask_that_does_not_fill_its_shape_is_not_written(run: Run, study: Path, tmp_path: Path) -> None:
    part = {"binary_type": "boolean_mask", "binary_data_shape": {"height": 2, "width": 2}}
    with listening(lambda request: answer(request, {"parts": [part]}, [("application/binary", b"123")])) as url:
        assert "/parts/0" in failed(run, tmp_path / "out", "-i", study, "--host", url)


def test_a_server_cannot_steer_the_terminal(run: Run, study: Path, tmp_path: Path) -> None:
    with listening(lambda request: Said(b"\x1b]0;owned\x07", status=500)) as url:
        assert "\x1b" not in failed(run, tmp_path / "out", "-i", study, "--host", url)
