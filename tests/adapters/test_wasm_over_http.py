"""WASM functions through the front door, in the workers and in processes of their own."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import requests

from gateway import Gateway, Settings
from gateway.adapters.wasm.module_checks import InvalidFunction
from gateway.dicom.samples import phantom
from gateway.doctor import Level, application
from gateway.observe.audit.receipts import HEADER, read_receipt
from tests.adapters import wat
from tests.adapters.messages import KIND, body, hashes_hold, parts_of
from tests.commands import ROOT, command
from tests.conftest import Serve, Server
from tests.waiting import PATIENCE, eventually

SHIPPED = ROOT / "models/wasm"
RGB = np.random.default_rng(3).integers(0, 256, (4, 5, 3), np.uint8)
PPM = b"P6\n5 4\n255\n" + RGB.tobytes()
GREY = (RGB.astype(np.uint32) @ np.array([13933, 46871, 4732], np.uint32) + 32768) >> 16
PGM = b"P5\n5 4\n255\n" + GREY.astype(np.uint8).tobytes()
SECRET = "DOE^JANE"
FUNCTIONS = {
    "echo": wat.command(wat.ECHO),
    "endless": wat.command(wat.ENDLESS),
    "allocating": wat.command(wat.ALLOCATING),
    "trapping": wat.command(wat.TRAPPING),
    "talkative": wat.command(wat.TALKATIVE, "x" * 64),
    "refusing": wat.command("(call $print (i32.const 2) (i32.const 8)) (call $exit (i32.const 7))", SECRET),
}
ANSWERED = {
    "endless": (504, "function-timeout"),
    "allocating": (502, "function-failed"),
    "trapping": (502, "function-failed"),
    "talkative": (502, "function-failed"),
    "refusing": (422, "function-refused"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("functions")
    for name, wasm in FUNCTIONS.items():
        wat.saved(wasm, folder, f"{name}.wasm")
    return folder


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    return {
        "GATEWAY_TEST_FUNCTIONS": str(folder),
        "GATEWAY_WASM_SECONDS": "0.3",
        "GATEWAY_WASM_MEMORY": str(64 << 20),
        "GATEWAY_WASM_OUTPUT": "4096",
        "GATEWAY_MAX_BODY_BYTES": str(1 << 20),
        "GATEWAY_WASM_CACHE": str(folder / "cache"),
    }


@pytest.fixture(scope="module")
def server(serve: Serve, environment: dict[str, str]) -> Server:
    return serve("tests.apps.functions:app", **environment)


def post(server: Server, route: str, *files: bytes, **headers: str) -> requests.Response:
    data = body({}, *((None, file) for file in files))
    return requests.post(server.url + route, data=data, headers={"Content-Type": KIND, **headers}, timeout=PATIENCE)


@pytest.mark.parametrize("route", ["/grayscale", "/apart"])
def test_a_function_answers_one_file_for_one_file(server: Server, route: str) -> None:
    response = post(server, route, PPM)
    parts = parts_of(response.headers["Content-Type"], response.content)
    media_type = "image/x-portable-graymap"
    described = {"label": "grayscale", "binary_type": "file", "media_type": media_type, "length": len(PGM)}
    assert [part.name for part in parts] == ["json-body", "elem_0", "hashes"]
    assert json.loads(parts[0].data) == {"parts": [described]}
    assert (parts[1].media_type, parts[1].data) == (media_type, PGM)
    assert hashes_hold(parts, b"{}", PPM)
    assert response.headers["X-Model"] == "grayscale"


@pytest.mark.parametrize("apart", ["", "-apart"])
@pytest.mark.parametrize("name", ANSWERED)
def test_each_end_of_a_function_is_a_problem_of_its_own_and_the_server_lives(
    server: Server, name: str, apart: str
) -> None:
    response = post(server, f"/{name}{apart}", b"input")
    problem = response.json()
    assert (response.status_code, problem["type"].rpartition(":")[2]) == ANSWERED[name]
    if name == "refusing":
        assert (problem["exit_status"], problem["detail"]) == (7, f"The function ended with status 7. {SECRET}")
    assert SECRET not in server.log
    assert post(server, "/grayscale", PPM).status_code == 200


@pytest.mark.parametrize("route", ["/grayscale", "/apart"])
@pytest.mark.parametrize("kind", [None, "image/x-portable-pixmap", "application/x-www-form-urlencoded", "text/plain"])
def test_a_file_as_the_body_is_answered_with_a_file_as_the_body(server: Server, route: str, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = requests.post(server.url + route, data=PPM, headers=headers, timeout=PATIENCE)
    assert (response.status_code, response.content) == (200, PGM)
    assert response.headers["Content-Type"] == "image/x-portable-graymap"
    assert response.headers["X-Model"] == "grayscale"
    digests = response.headers["X-Hashes"].split(":")
    assert digests[0] == hashlib.sha256(b"{}" + PPM).hexdigest()


@pytest.mark.parametrize("accept", ["*/*", "image/png", "image/*", "application/json, text/plain, */*", "image/tiff"])
def test_a_file_answers_a_file_whatever_media_type_is_accepted(server: Server, accept: str) -> None:
    """Only the function knows which it makes (RFC 9110 12.5.1 lets a server disregard Accept)."""
    response = requests.post(f"{server.url}/grayscale", data=PPM, headers={"Accept": accept}, timeout=PATIENCE)
    assert (response.status_code, response.content) == (200, PGM)


def test_a_file_has_the_other_forms_of_an_answer_where_accept_names_them(server: Server) -> None:
    def accepting(form: str) -> requests.Response:
        return requests.post(f"{server.url}/grayscale", data=PPM, headers={"Accept": form}, timeout=PATIENCE)

    assert accepting("application/json").json()["parts"][0]["length"] == len(PGM)
    with zipfile.ZipFile(io.BytesIO(accepting("application/zip").content)) as archive:
        assert PGM in [archive.read(name) for name in archive.namelist()]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 4096], ids=str)
def test_a_body_is_the_whole_file_whatever_its_bytes(server: Server, size: int, chunked: bool) -> None:
    data = np.random.default_rng(size).bytes(size)
    response = requests.post(f"{server.url}/echo", data=iter([data]) if chunked else data, timeout=PATIENCE)
    assert (response.status_code, response.content) == (200, data)
    assert response.headers["Content-Type"] == "application/octet-stream"


def test_an_instance_reaches_a_function_byte_by_byte(server: Server) -> None:
    file = io.BytesIO()
    next(iter(phantom.datasets(slices=1, size=16))).save_as(file, enforce_file_format=True)
    headers = {"Content-Type": "application/dicom"}
    response = requests.post(f"{server.url}/echo", data=file.getvalue(), headers=headers, timeout=PATIENCE)
    assert (response.content, response.headers["Content-Type"]) == (file.getvalue(), "application/dicom")


def test_a_file_as_the_body_is_answered_in_parts_where_accept_names_them(server: Server) -> None:
    headers = {"Accept": "multipart/related", "Content-Type": "image/x-portable-pixmap"}
    response = requests.post(f"{server.url}/grayscale", data=PPM, headers=headers, timeout=PATIENCE)
    parts = parts_of(response.headers["Content-Type"], response.content)
    assert parts[1].data == PGM
    assert hashes_hold(parts, b"{}", PPM)


def test_a_refusal_of_a_file_is_a_problem_as_ever(server: Server) -> None:
    refused = requests.post(f"{server.url}/grayscale", data=b"not an image", timeout=PATIENCE)
    assert (refused.status_code, refused.json()["exit_status"]) == (422, 1)
    packed = requests.post(f"{server.url}/echo", data=b"", headers={"Content-Encoding": "gzip"}, timeout=PATIENCE)
    assert packed.status_code == 415
    huge = requests.post(f"{server.url}/echo", data=b"x" * (1 << 20) * 2, timeout=PATIENCE)
    assert (huge.status_code, huge.json()["limit"]) == (413, "max_body_bytes")


@pytest.mark.parametrize("files", [(), (PPM, PPM)], ids=["none", "two"])
def test_another_number_of_files_is_refused(server: Server, files: tuple[bytes, ...]) -> None:
    response = post(server, "/grayscale", *files)
    assert (response.status_code, response.json()["type"]) == (422, "urn:gateway:problem:study-refused")


def test_an_answer_is_reproduced_from_its_receipt_by_the_digest_of_the_file(
    server: Server, folder: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    header = post(server, "/grayscale", PPM, Prefer="receipt").headers[HEADER]
    receipt = read_receipt(header)
    assert receipt["model"]["digest"] == hashlib.sha256((SHIPPED / "grayscale.wasm").read_bytes()).hexdigest()
    assert receipt["deterministic"] is True
    (tmp_path / "receipt.json").write_text(header)
    (tmp_path / "image.ppm").write_bytes(PPM)
    words = ("replay", tmp_path / "receipt.json", "tests.apps.functions:app", "-a", tmp_path / "image.ppm")
    done = command(*words, environ=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit-equal" in done.stdout


def test_openapi_has_the_problems_of_functions_on_their_routes_alone(server: Server) -> None:
    paths = requests.get(server.url + "/openapi.json", timeout=PATIENCE).json()["paths"]
    assert "function-timeout" in paths["/grayscale"]["post"]["responses"]["504"]["description"]


def test_compiled_code_is_stored_once_for_all_processes(server: Server, folder: Path) -> None:
    assert eventually(lambda: len(list((folder / "cache").glob("*.code"))) == len(FUNCTIONS) + 1)


def test_a_module_that_imports_something_unknown_stops_the_start_in_words(serve: Serve, tmp_path: Path) -> None:
    wat.saved(wat.importing("env", "system"), tmp_path, "unknown.wasm")
    server = serve("tests.apps.functions:app", GATEWAY_TEST_FUNCTIONS=str(tmp_path))
    assert eventually(lambda: server.process.poll() is not None)
    assert "InvalidFunction: unknown.wasm imports env.system; the gateway has the functions of" in server.log


def test_the_doctor_says_why_a_function_would_not_start(tmp_path: Path) -> None:
    app = Gateway(__name__)
    app.add_wasm_route("/good", SHIPPED / "grayscale.wasm")
    app.add_wasm_route("/unknown", wat.saved(wat.importing("env", "system"), tmp_path, "unknown.wasm"))
    found = [application.model(route, model) for route, model in app.service.models.items()]
    assert [one.level for one in found] == [Level.OK, Level.FAIL]
    assert found[1].text.startswith("unknown.wasm imports env.system")


def test_a_file_that_is_no_module_is_refused_where_its_route_is_added(tmp_path: Path) -> None:
    app = Gateway(__name__, settings=Settings(wasm_module=1000))
    with pytest.raises(InvalidFunction, match="wasm_module"):
        app.add_wasm_route("/large", SHIPPED / "grayscale.wasm")
    with pytest.raises(FileNotFoundError):
        app.add_wasm_route("/absent", tmp_path / "absent.wasm")
    app.add_wasm_route("/small", wat.saved(wat.command(wat.ECHO), tmp_path))
    with pytest.raises(ValueError, match="already"):
        app.add_wasm_route("/small", wat.saved(wat.command(wat.ECHO), tmp_path))
