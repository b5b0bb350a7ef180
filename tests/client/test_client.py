"""The client and servers that answer, refuse, break off, or send invalid responses."""

import hashlib
import io
import json
import resource
import socket
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from gateway.client import Answer, AnswerCorrupt, Client, Disconnected, Refused, Source, SourceUnreadable, Unreachable
from gateway.client.folders import MANIFEST
from tests.client.servers import Heard, Said, Script, answer, draining, listening, problem
from tests.waiting import PATIENCE

MASK: dict[str, Any] = {
    "binary_type": "probability_mask",
    "binary_data_shape": {"timepoints": 1, "depth": 2, "height": 3, "width": 4},
}
WORDS = {"protocol_version": "1.0", "parts": [MASK]}
BUFFER = ("application/binary", bytes(range(24)))
ELSEWHERE, FOLLOW = "The server redirects to", "which is not followed: use that address (status 30"
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def ask(script: Script, files: list[Source] | None = None, **options: Any) -> Answer:
    """One inference with a server that follows ``script``."""
    with listening(script) as url, Client(url, timeout=PATIENCE) as client:
        return client.ask({"a": "ä"}, files or [], **options)


def heard(files: list[Source], **options: Any) -> Heard:
    """The requests of one inference, as the server receives them."""
    requests: list[Heard] = []

    def script(request: Heard) -> Said:
        requests.append(request)
        return answer(request, {})

    ask(script, files, **options)
    return requests[0]


def test_a_study_arrives_as_json_then_attachments_then_files_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(b"\r\n--from a path")
    request = heard([path, io.BytesIO(b"from memory"), b""], attachments=[b"attached"], route="/masks")
    assert request.path == "/masks"
    assert json.loads(request.parts[0]) == {"a": "ä"}
    assert request.parts[1:] == [b"attached", b"\r\n--from a path", b"from memory", b""]


def test_the_upload_announces_its_length_and_a_quoted_boundary() -> None:
    request = heard([b"x" * 100_000])
    assert int(request.headers["Content-Length"]) == len(request.body)
    assert request.headers["Content-Type"].startswith('multipart/related; type="application/json"; boundary="')


def test_a_file_name_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "DOE^JANE.dcm"
    path.write_bytes(b"x")
    assert b"DOE" not in heard([path], attachments=[path]).body


def test_an_open_file_is_read_from_its_start_and_left_open() -> None:
    file = io.BytesIO(b"whole")
    file.read()
    assert heard([file]).parts[1] == b"whole"
    assert not file.closed


def test_more_files_than_a_process_may_open_are_sent(tmp_path: Path) -> None:
    files: list[Source] = [tmp_path / f"{i}" for i in range(80)]
    for path in files:
        assert isinstance(path, Path)
        path.write_bytes(b"x")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = {int(link.name) for link in Path("/proc/self/fd").iterdir()}
    free = [number for number in range(soft) if number not in opened]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[40], hard))
    try:
        assert len(heard(files).parts) == 81
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_study_larger_than_memory_would_be_sent(tmp_path: Path) -> None:
    study = tmp_path / "sparse"
    with study.open("wb") as file:
        file.truncate(128 << 20)
    with draining() as url, Client(url, timeout=60) as client:
        tracemalloc.start()
        try:
            with pytest.raises(AnswerCorrupt, match="other bytes"):
                client.ask({}, [study])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 24 << 20


def test_progress_grows_to_the_whole_body() -> None:
    seen: list[tuple[int, int]] = []
    request = heard([bytes(3_000_000)], progress=lambda sent, total: seen.append((sent, total)))
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {len(request.body)}
    assert seen[-1][0] == len(request.body)
    assert len(seen) > 3


def test_infer_takes_a_study_and_names_the_method_for_other_requests() -> None:
    request: Any = {"threshold": 200}
    with Client("http://127.0.0.1:1") as client, pytest.raises(TypeError, match=r"Client\.ask"):
        client.infer(request, "/model")


def test_an_answer_has_json_buffers_and_both_digests() -> None:
    got = ask(lambda request: answer(request, WORDS, [BUFFER]), [b"file"])
    assert got.json == WORDS
    assert [bytes(buffer) for buffer in got.buffers] == [BUFFER[1]]
    assert got.media_types == ("application/binary",)
    assert got.input_digest == hashlib.sha256('{"a": "ä"}'.encode() + b"file").hexdigest()
    assert got.output_digest == hashlib.sha256(json.dumps(WORDS).encode() + BUFFER[1]).hexdigest()


def test_a_large_answer_is_hashed_as_it_arrives() -> None:
    shape = {"height": 1500, "width": 2000}
    words = {"parts": [MASK | {"binary_data_shape": shape}]}
    got = ask(lambda request: answer(request, words, [("application/binary", bytes(3_000_000))]))
    assert got.masks()[0].shape == (1500, 2000)


def test_masks_have_the_axes_that_were_declared() -> None:
    flat = MASK | {"binary_data_shape": {"width": 6, "height": 4}}
    report = {"binary_type": "dicom"}
    parts = [BUFFER, ("application/dicom", b"DICM"), BUFFER]
    got = ask(lambda request: answer(request, {"parts": [MASK, report, flat]}, parts))
    assert [mask.shape for mask in got.masks()] == [(1, 2, 3, 4), (4, 6)]
    assert got.masks()[0][0, 1, 2, 3] == 23
    assert got.masks()[0].dtype == "uint8"


@pytest.mark.parametrize("shape", [None, {}, {"height": 5, "width": 5}, {"height": -4, "width": -6}, {"height": "24"}])
def test_a_mask_that_does_not_fill_its_shape_is_refused(shape: Any) -> None:
    got = ask(lambda request: answer(request, {"parts": [MASK | {"binary_data_shape": shape}]}, [BUFFER]))
    with pytest.raises(AnswerCorrupt, match="/parts/0"):
        got.masks()


def test_a_study_path_is_sent_as_json_alone() -> None:
    requests: list[Heard] = []

    def script(request: Heard) -> Said:
        requests.append(request)
        return answer(Heard("", {"Content-Type": "multipart/x; boundary=x"}, b"--x\r\n\r\n\r\n--x--\r\n"), {})

    with listening(script) as url, Client(url) as client:
        client.infer_path({"studyUID": "1.2"}, "2026/ct", "/masks")
    assert json.loads(requests[0].body) == {"studyUID": "1.2", "studyPath": "2026/ct"}
    assert requests[0].headers["Content-Type"] == "application/json"


def test_ping_and_health_are_the_text_of_the_server() -> None:
    with listening(lambda request: Said(request.path.encode() + b"\n")) as url, Client(url + "/") as client:
        assert (client.ping(), client.health()) == ("/ping", "/healthcheck")


# ---- refusals ----


def test_a_problem_becomes_an_error_with_its_status_code_detail_and_request_id() -> None:
    said = problem(
        422, type="urn:gateway:problem:study-refused", title="T", detail="Two series.\nSend one.", request_id="r-1"
    )
    with pytest.raises(Refused) as caught:
        ask(lambda request: said)
    assert caught.value.status == 422
    assert caught.value.code == "study-refused"
    assert caught.value.detail == "Two series. Send one. (status 422)"
    assert caught.value.request_id == "r-1"


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (Said(b"something failed\nTraceback", status=500), "something failed (status 500)"),
        (Said(b"<html>oh", "text/html", 502), "Bad Gateway (status 502)"),
        (Said(b"<html>oh", "text/html", 413), "Request Entity Too Large. A proxy before the gateway"),
        (Said(b"[1, 2", "application/problem+json", 500), "Internal Server Error (status 500)"),
        (Said(b"[1, 2]", "application/json", 500), "Internal Server Error (status 500)"),
        (Said(b"[" * 60_000, "application/json", 500), "Internal Server Error (status 500)"),
        (Said(b"", status=302, headers={"Location": "https://a:9/b"}), f"{ELSEWHERE} https://a:9, {FOLLOW}"),
        (Said(b"", status=301, headers={"Location": "//[evil/\x1b"}), f"{ELSEWHERE} another place, {FOLLOW}"),
        (problem(404, title="Not Found"), "There is no model on the route /. GET /docs lists the models of a gateway."),
        (problem(404, detail="No such patient"), "No such patient (status 404)"),
        (problem(400, detail="\x1b[2Jred"), "?[2Jred (status 400)"),
    ],
)
def test_an_error_answer_of_any_kind_is_one_printable_line(said: Said, detail: str) -> None:
    with pytest.raises(Refused) as caught:
        ask(lambda request: said)
    assert caught.value.detail.startswith(detail)


def test_an_endless_error_answer_is_read_to_a_limit() -> None:
    with pytest.raises(Refused) as caught:
        ask(lambda request: Said(b"x" * 5_000_000, status=500))
    assert len(caught.value.detail) < 600


# ---- answers that cannot be trusted ----


def first_mask_byte_flipped(body: bytes) -> bytes:
    return body.replace(BUFFER[1], b"\xff" + BUFFER[1][1:])


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (lambda r: answer(r, WORDS, [BUFFER], damage=first_mask_byte_flipped), "do not match its own digest"),
        (lambda r: answer(r, WORDS, [BUFFER], damage=lambda body: body.replace(b"1.0", b"1.1")), "its own digest"),
        (lambda r: answer(r, WORDS, [BUFFER], hashes="0" * 64 + ":" + "0" * 64), "its own digest"),
        (lambda r: answer(r, WORDS, [BUFFER], hashes="none"), "does not end with its hashes"),
        (lambda r: answer(r, WORDS, [BUFFER], damage=lambda body: body[:-60]), "cannot be read"),
        (lambda r: answer(r, WORDS, [BUFFER], damage=lambda body: b""), "cannot be read"),
        (lambda r: answer(r, WORDS, []), "declares 1 parts and carries 0"),
        (lambda r: answer(r, {}, [BUFFER]), "declares 0 parts and carries 1"),
        (lambda r: answer(r, [1, 2]), "not an object"),
        (lambda r: answer(r, b"{"), "not JSON"),
        (lambda r: answer(r, b"[" * 100_000), "not JSON"),
        (lambda r: answer(r, {"parts": "abc"}), "not an object with a list of parts"),
        (lambda r: answer(r, {"parts": [None]}, [BUFFER]), "not an object with a list of parts"),
        (lambda r: Said(b"{}", "application/json"), "application/json, not multipart/related"),
        (lambda r: Said(b"{}", "multipart/related"), "not multipart/related"),
    ],
)
def test_an_answer_that_cannot_be_trusted_is_refused(script: Script, reason: str) -> None:
    with pytest.raises(AnswerCorrupt, match=reason):
        ask(script, [b"file"])


def test_an_answer_for_other_bytes_than_were_sent_is_refused() -> None:
    other = Heard("", {"Content-Type": "multipart/x; boundary=x"}, b"--x\r\n\r\nother\r\n--x--\r\n")
    with pytest.raises(AnswerCorrupt, match="other bytes than were sent"):
        ask(lambda request: answer(other, WORDS, [BUFFER]), [b"file"])


def test_an_answer_hashed_by_another_algorithm_is_reported() -> None:
    def script(request: Heard) -> Said:
        return replace(answer(request, {}), headers={"X-Digest-Algorithm": "blake3"})

    with pytest.raises(AnswerCorrupt, match="The server hashes with blake3, this client with sha256"):
        ask(script)


def test_an_algorithm_that_does_not_exist_is_refused_when_the_client_is_made() -> None:
    with pytest.raises(ValueError, match="sha256"):
        Client("http://127.0.0.1:9", digest="md5")


# ---- connections ----


def test_a_port_where_nothing_listens_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="Cannot connect to 127.0.0.1:"), Client(_url(taken)) as client:
            client.ping()


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://[::1", "ftp://127.0.0.1"])
def test_an_invalid_url_is_unreachable(url: str) -> None:
    with pytest.raises(Unreachable), Client(url) as client:
        client.ping()


def test_a_silent_server_times_out_and_credentials_are_not_repeated() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = _url(deaf).replace("http://", "http://user:secret@")
        with pytest.raises(Disconnected, match="no answer in time") as caught, Client(url, timeout=0.2) as client:
            client.ping()
    assert "secret" not in str(caught.value)


def test_a_connection_that_breaks_inside_an_answer_is_reported() -> None:
    with pytest.raises(Disconnected, match="before its answer was complete"):
        ask(lambda request: Said(b"--x\r\n", "multipart/related; boundary=x", length=1000))


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


# ---- files to send ----


def test_a_file_that_cannot_be_read_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="absent.dcm cannot be read: No such file"):
        ask(lambda request: answer(request, {}), [tmp_path / "absent.dcm"])


def test_a_file_that_shrinks_while_it_is_sent_is_reported_and_never_padded(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_bytes(bytes(1000))
    second.write_bytes(bytes(1000))
    with pytest.raises(SourceUnreadable, match="became shorter"):
        ask(
            lambda r: answer(r, {}), [first, second], progress=lambda sent, total: second.write_bytes(b"short") and None
        )


def test_json_without_a_meaning_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="JSON"), Client("http://127.0.0.1:9") as client:
        client.ask({"a": float("nan")}, [])


# ---- files to keep ----


def saved(out: Path, **options: bool) -> dict[str, bytes]:
    parts = [MASK, {"binary_type": "dicom_secondary_capture"}, MASK, {"binary_type": "dicom"}, {"binary_type": "new"}]
    buffers = [
        BUFFER,
        ("application/dicom", b"one"),
        BUFFER,
        ("application/dicom", b"two"),
        ("application/x", b"three"),
    ]
    got = ask(lambda request: answer(request, {"parts": parts, "ü": 1}, buffers))
    assert {path.name for path in got.save(out, **options)} == {path.name for path in out.iterdir()} - {MANIFEST}
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != MANIFEST}


def test_an_answer_is_saved_by_what_its_parts_are(tmp_path: Path) -> None:
    files = saved(tmp_path / "new" / "out")
    assert files.keys() == {
        "response.json", "output_masks_1.npy", "output_masks_2.npy", "sc_0.dcm", "dicom_0.dcm", "part_4.bin"
    }  # fmt: skip
    assert (files["sc_0.dcm"], files["dicom_0.dcm"], files["part_4.bin"]) == (b"one", b"two", b"three")
    assert json.loads(files["response.json"])["ü"] == 1


def test_a_saved_mask_is_a_true_npy_with_its_shape(tmp_path: Path) -> None:
    import numpy as np

    mask = np.load(io.BytesIO(saved(tmp_path)["output_masks_2.npy"]), allow_pickle=False)
    assert mask.shape == (1, 2, 3, 4)
    assert mask.tobytes() == BUFFER[1]


def test_a_legacy_answer_has_the_predecessors_names_and_bare_masks(tmp_path: Path) -> None:
    files = saved(tmp_path, legacy=True)
    assert files["output_masks_1.npy"] == BUFFER[1]
    assert (files["sc_0.dcm"], files["sc_1.dcm"]) == (b"one", b"two")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("liver_1frame.dcm", "seg_0.dcm"),
        ("test-SR.dcm", "sr_0.dcm"),
        ("SC_rgb_small_odd.dcm", "sc_0.dcm"),
        ("CT_small.dcm", "dicom_0.dcm"),
    ],
)
def test_a_dicom_part_is_named_by_its_sop_class(tmp_path: Path, file: str, name: str) -> None:
    data = (TEST_FILES / file).read_bytes()
    buffers = [("application/dicom", data)]
    got = ask(lambda request: answer(request, {"parts": [{"binary_type": "dicom"}]}, buffers))
    assert (tmp_path / name) in got.save(tmp_path)
    assert (tmp_path / name).read_bytes() == data


LARGE = {"timepoints": 1, "depth": 4, "height": 64, "width": 64}
LARGE_MASK = WORDS | {"parts": [MASK | {"binary_data_shape": LARGE}]}


@pytest.mark.parametrize("words, size", [(WORDS | {"new": "x" * 4096}, 24), (LARGE_MASK, 4 * 64 * 64)])
def test_an_earlier_answer_stays_where_the_new_one_cannot_be_written(
    words: dict[str, Any], size: int, tmp_path: Path
) -> None:
    ask(lambda request: answer(request, WORDS, [BUFFER])).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    new = ask(lambda request: answer(request, words, [("application/binary", bytes(size))]))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            new.save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_files_of_an_earlier_answer_do_not_stay_beside_a_new_one(tmp_path: Path) -> None:
    saved(tmp_path)
    ask(lambda request: answer(request, WORDS, [BUFFER])).save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"response.json", "output_masks_1.npy", MANIFEST}
