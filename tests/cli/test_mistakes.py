"""Mistakes of users are one line with a remedy: wrong addresses, invalid keys, full disks, odd names."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from gateway.cli.serving import require_known
from tests.access.certificates import Authority, named
from tests.cli.conftest import Run
from tests.client.servers import Said, listening, problem
from tests.conftest import ROOT, Serve, Server
from tests.waiting import PATIENCE


def line_of(run: Run, *words: object, status: int = 1) -> str:
    """The one line of a command that fails."""
    ran = run(*words)
    assert (ran.status, ran.out) == (status, ""), ran
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1, ran.err
    return ran.err


# ---- credentials ----

UNFIT = ["two\nlines", "käy€", "bell\x07"]


@pytest.mark.parametrize("variable", ["GATEWAY_TOKEN", "GATEWAY_API_KEY"])
@pytest.mark.parametrize("secret", UNFIT)
def test_a_key_that_no_header_can_hold_is_not_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, secret: str
) -> None:
    monkeypatch.setenv(variable, secret)
    line = line_of(run, "results", "-p", 9)
    assert "no header can contain" in line
    assert secret[:3] not in line


def test_a_token_file_must_hold_a_token(run: Run, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" \n")
    assert f"{tmp_path / 'token'} contains no token" in line_of(run, "results", "--token-file", tmp_path / "token")
    (tmp_path / "token").write_text("zwei\nZeilen")
    assert "zwei" not in line_of(run, "results", "--token-file", tmp_path / "token")


def test_a_refused_caller_learns_where_to_put_a_key(run: Run) -> None:
    with listening(lambda request: problem(401, detail="Send a key.")) as url:
        line = line_of(run, "results", "--host", url)
    assert line.startswith("error: Send a key. (status 401)")
    assert "GATEWAY_API_KEY" in line
    assert "--token-file" in line


def test_a_key_without_its_certificate_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    ran = run("results", "--cert-key", tmp_path / "key.pem")
    assert ran.status == 2
    assert "--cert" in ran.err


def test_a_key_that_has_expired_is_not_made(run: Run, tmp_path: Path) -> None:
    ran = run("keys", "add", "x", "--expires", "2020-01-01", "--file", tmp_path / "keys.json")
    assert (ran.status, ran.out) == (2, "")
    assert "has passed" in ran.err
    assert not (tmp_path / "keys.json").exists()


def test_a_file_of_keys_that_cannot_be_written_is_named(run: Run) -> None:
    assert line_of(run, "keys", "add", "x", "--file", "/proc/self/keys.json").startswith(
        "error: /proc/self/keys.json: "
    )


# ---- addresses ----


@pytest.mark.parametrize("form", ["127.0.0.1:{port}", "http://127.0.0.1:{port}/", "localhost:{port}"])
def test_a_host_may_have_its_port(run: Run, service: Server, study: Path, tmp_path: Path, form: str) -> None:
    ran = run("send", "-i", study, "-o", tmp_path, "--host", form.format(port=service.port), "-p", 1)
    assert ran.status == 0, ran.err


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]:9"), ("[::1]", "[::1]:9"), ("[::1]:9", "[::1]:9")])
def test_an_address_of_ipv6_has_brackets_where_it_needs_them(run: Run, host: str, shown: str) -> None:
    assert f"Cannot connect to {shown}." in line_of(run, "results", "--host", host, "-p", 9, status=3)


@pytest.mark.parametrize("host", ["", "a b", "http://", "http://x:99999", "ftp://x", "http://[::1", "\x1b[2J"])
def test_an_invalid_address_is_reported(run: Run, host: str) -> None:
    line = line_of(run, "results", "--host", host, status=3)
    assert "None" not in line
    assert "\x1b" not in line


def test_a_redirection_is_reported_and_not_followed(run: Run) -> None:
    moved = Said(b"", status=301, headers={"Location": "https://elsewhere.test:8443/results"})
    with listening(lambda request: moved) as url:
        assert "redirects to https://elsewhere.test:8443, " in line_of(run, "results", "--host", url)


def test_a_client_that_accepts_any_certificate_is_not_warned_with_each_request(serve: Serve, tmp_path: Path) -> None:
    server = serve("tests.cli.service:app", "--certfile", str(Authority(tmp_path).sign(named(CN="server"), "s.pem")))
    command = [sys.executable, "-m", "gateway", "results", "--host", server.url, "--insecure"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert "GATEWAY_STORE_FOLDER" in ran.stderr
    assert ran.stderr.count("\n") == 1


# ---- gateways that lack something ----


@pytest.mark.parametrize(
    "words",
    [
        ["results"],
        ["upload", "-i", "STUDY"],
        ["bundle", "push", "b", "STUDY"],
        ["bundle", "pull", "b", "OUT"],
    ],
)
def test_a_gateway_without_a_store_is_reported(
    run: Run, service: Server, study: Path, tmp_path: Path, words: list[str]
) -> None:
    given = [{"STUDY": study, "OUT": tmp_path / "out"}.get(word, word) for word in words]
    assert "GATEWAY_STORE_FOLDER" in line_of(run, *given, "-p", service.port)


def test_preflight_needs_no_store(run: Run, service: Server, study: Path) -> None:
    ran = run("preflight", "-i", study, "-p", service.port)
    assert (ran.status, ran.err) == (0, "")


def test_a_route_without_a_model_is_named(run: Run, service: Server, study: Path, tmp_path: Path) -> None:
    ran = run("send", "-i", study, "-o", tmp_path, "-p", service.port, "-r", "/nowhere")
    assert ran.status == 1
    assert "There is no model on the route /nowhere." in ran.err


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\nb"])
def test_an_invalid_name_of_a_bundle_is_refused_before_it_is_sent(run: Run, tmp_path: Path, name: str) -> None:
    assert "is not a name" in line_of(run, "bundle", "push", name, tmp_path, "-p", 9)


# ---- files ----


@pytest.mark.parametrize("verb", ["send", "upload", "preflight", "run"])
def test_a_study_that_is_not_there_is_named(run: Run, tmp_path: Path, verb: str) -> None:
    target = ["models.app:app", "-o", tmp_path / "out"] if verb == "run" else []
    assert f"{tmp_path / 'absent'} does not exist" in line_of(run, verb, *target, "-i", tmp_path / "absent")


@pytest.mark.parametrize("verb", ["send", "upload", "preflight", "run"])
def test_a_broken_file_is_named(run: Run, study: Path, tmp_path: Path, verb: str) -> None:
    target = ["models.app:app", "-o", tmp_path / "out"] if verb == "run" else ["-p", 9]
    whole = next(study.rglob("*.dcm")).read_bytes()
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "whole.dcm").write_bytes(whole)
    (tmp_path / "study" / "half.dcm").write_bytes(whole[:300])
    assert " half.dcm: A DICOM file is cut off" in line_of(run, verb, *target, "-i", tmp_path / "study")


def test_a_pipe_is_not_waited_for(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in line_of(run, "upload", "-i", tmp_path / "pipe")


def test_a_dicomdir_is_reported_as_an_index(run: Run, tmp_path: Path) -> None:
    index = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "DICOMDIR"
    assert "name its folder" in line_of(run, "send", "-i", index, "-o", tmp_path / "out")


def test_a_wrong_name_of_an_audit_is_reported_before_a_missing_key(run: Run, tmp_path: Path) -> None:
    assert str(tmp_path / "absent") in line_of(run, "audit", "verify", tmp_path / "absent")


LIMITED = """
import resource, signal, sys
from gateway.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
sys.exit(main(sys.argv[1:]))
"""
"""Run the command line on a disk that accepts files of 400 bytes at most."""


@pytest.mark.parametrize("words", [["phantom", "study"], ["new", "lungs"]])
def test_a_disk_that_takes_no_more_is_one_line(tmp_path: Path, words: list[str]) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", LIMITED, *words]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error: ")
    assert ran.stderr.endswith("File too large\n")
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "lungs").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["results", "--host", "127.0.0.1:9", "--model", "é"],
        ["send", "-i", "STUDY", "-o", "out", "-p", "9", "-c", "é"],
        ["bundle", "push", "b", "é", "-p", "9"],
    ],
)
def test_what_the_locale_cannot_read_is_one_line(study: Path, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "é").mkdir()
    (tmp_path / "é" / "ü").touch()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "gateway", *(str(study) if word == "STUDY" else word for word in words)]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 1
    assert "LC_ALL=C.UTF-8" in ran.stderr
    assert "Traceback" not in ran.stderr


# ---- serving ----


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere:app"], "no module nowhere"),
        (["nowhere.deep:app"], "no module nowhere"),
        ([":app"], "module:name"),
        (["models.app:app", "--certfile", "absent.pem"], "absent.pem is not a file"),
        (["models.app:app", "--certfile", __file__, "--keyfile", "absent.key"], "absent.key is not a file"),
    ],
)
def test_an_invalid_application_is_reported_before_a_process_starts(run: Run, words: list[str], sentence: str) -> None:
    assert sentence in line_of(run, "serve", *words)


def test_beyond_loopback_a_variable_that_nothing_reads_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_MAX_QUEU", "secret")
    monkeypatch.setenv("GATEWAY_COFFEE", "secret")
    line = line_of(run, "serve", "models.app:app", "--host", "0.0.0.0")
    assert "GATEWAY_COFFEE, GATEWAY_MAX_QUEU (near: GATEWAY_MAX_QUEUE)" in line
    assert "secret" not in line


def test_on_loopback_a_variable_that_nothing_reads_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    require_known({"GATEWAY_MAX_QUEU": "1", "GATEWAY_SERVICE_HOST": "10.0.0.1", "GATEWAY_TEST_REQUIRE": ""}, "::1")
    assert capsys.readouterr().err == (
        "warning: nothing reads GATEWAY_MAX_QUEU (near: GATEWAY_MAX_QUEUE); correct the name, or unset it\n"
    )


# ---- parameters ----


def test_a_parameter_that_the_model_does_not_have_is_reported_with_the_nearest(
    run: Run, study: Path, tmp_path: Path, serve: Serve
) -> None:
    (tmp_path / "told.py").write_text(PARAMETERS)
    server = serve("told:app", pythonpath=tmp_path)
    words = ("send", "-i", study, "-o", tmp_path / "out", "-p", server.port, "-R", "treshold=1", "output=json")
    ran = run(*words)
    assert ran.status == 0, ran.err
    assert "warning: treshold is not a parameter of this model; did you mean threshold?" in ran.err
    assert "output" not in ran.err
    ran = run(*words, "-r", "/strict")
    assert ran.status == 1
    assert "it takes threshold" in ran.err
    ran = run(*words, "-r", "/plain")
    assert (ran.status, "warning" in ran.err) == (0, False)


PARAMETERS = """
from gateway import Gateway, Mask, Volume
app = Gateway(__name__)

def bright(ct: Volume, threshold: float = 300) -> Mask:
    return Mask(ct.array > threshold)

app.model("/")(bright)
app.model("/strict", forbid_unknown=True)(bright)
app.add_inference_route("/plain", lambda json, files, digest: ({"study_ml_json": {}}, []))
"""


def test_run_reports_a_parameter_that_the_model_does_not_have(run: Run, study: Path, tmp_path: Path) -> None:
    ran = run("run", "models.segmentation_3d:segment", "-i", study, "-o", tmp_path, "--param", "bon=red")
    assert ran.status == 0, ran.err
    assert "warning: bon is not a parameter of this model; did you mean bone?" in ran.err


# ---- for scripts ----


def test_send_reports_the_answer_and_its_files_to_a_script(
    run: Run, service: Server, study: Path, tmp_path: Path
) -> None:
    ran = run("send", "-i", study, "-o", tmp_path, "-p", service.port, "-r", "mask", "--json")
    assert ran.status == 0, ran.err
    told = json.loads(ran.out)
    assert told["findings"] == {"boolean_mask": 1, "bounding_boxes_2d": 1}
    assert told["files"][:3] == [
        str(tmp_path / n) for n in ("contact_sheet.png", "response.json", "output_masks_1.npy")
    ]
    written = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}  # and the record of them
    assert {Path(name).name for name in told["files"]} == written
    assert (told["digest"], len(told["input"]), len(told["output"])) == ("sha256", 64, 64)
    assert told["request_id"]


def test_run_reports_the_same_to_a_script(run: Run, study: Path, tmp_path: Path) -> None:
    words = ["run", "models.segmentation_3d:segment", "-i", study, "-o", tmp_path, "--json", "--param", "output=dicom"]
    ran = run(*words)
    assert ran.status == 0, ran.err
    assert str(tmp_path / "seg_0.dcm") in json.loads(ran.out)["files"]
    assert "verdict good" in ran.err


def test_a_script_reads_nothing_where_a_send_fails(run: Run, study: Path, tmp_path: Path) -> None:
    ran = run("send", "-i", study, "-o", tmp_path, "-p", 9, "--json")
    assert (ran.status, ran.out) == (3, "")


def test_an_upload_reports_what_it_left_out(run: Run, study: Path, tmp_path: Path) -> None:
    from tests.cli.test_storing import Store

    (tmp_path / "slice.dcm").write_bytes(next(study.rglob("*.dcm")).read_bytes())
    (tmp_path / "notes.txt").write_text("not an image")
    with listening(Store()) as url:
        assert "ignored 1 that is not DICOM" in run("upload", "-i", tmp_path, "--host", url).out
        assert json.loads(run("upload", "-i", tmp_path, "--host", url, "--json").out)["ignored"] == 1


def test_a_folder_that_cannot_be_listed_is_no_smaller_study(study: Path, tmp_path: Path) -> None:
    (tmp_path / "slice.dcm").write_bytes(next(study.rglob("*.dcm")).read_bytes())
    (tmp_path / "shut").mkdir(mode=0)
    # root may list every folder, but not without these capabilities (capabilities(7))
    unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    for verb in ("send", "upload", "preflight"):
        command = [*unprivileged, sys.executable, "-m", "gateway", verb, "-i", str(tmp_path), "-p", "9"]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "cannot be listed" in ran.stderr


def with_a_hole(study: Path, folder: Path) -> Path:
    folder.mkdir()
    for number, path in enumerate(sorted(study.rglob("*.dcm"))):
        (folder / f"{number}.dcm").write_bytes(path.read_bytes())
    (folder / "4.dcm").write_bytes(b"<html>502</html>")
    return folder


@pytest.mark.parametrize("verb", ["send", "upload", "run"])
def test_a_script_reads_which_files_of_a_study_are_unreadable(run: Run, study: Path, tmp_path: Path, verb: str) -> None:
    target = ["models.segmentation_3d:segment"] if verb == "run" else ["-p", 9]
    ran = run(verb, *target, "-i", with_a_hole(study, tmp_path / "study"), "--json")
    assert ran.status == 1
    assert [one["file"] for one in json.loads(ran.out)["unreadable"]] == ["4.dcm"]
    assert "4.dcm: It is an HTML page." in ran.err


def test_run_continues_without_an_unreadable_file_and_reports_it(run: Run, study: Path, tmp_path: Path) -> None:
    folder = with_a_hole(study, tmp_path / "study")
    words = ["run", "models.segmentation_3d:segment", "-i", folder, "-o", tmp_path / "out"]
    ran = run(*words, "--skip-unreadable")
    assert ran.status == 0, ran.err
    assert "skipped 4.dcm: It is an HTML page." in ran.out
    ran = run(*words, "--skip-unreadable", "--json")
    assert [one["file"] for one in json.loads(ran.out)["skipped"]] == ["4.dcm"]


def test_an_upload_continues_without_an_unreadable_file_and_reports_it(run: Run, study: Path, tmp_path: Path) -> None:
    from tests.cli.test_storing import Store

    folder = with_a_hole(study, tmp_path / "study")
    with listening(Store()) as url:
        ran = run("upload", "-i", folder, "--host", url, "--skip-unreadable")
        assert (ran.status, "skipped 4.dcm: " in ran.out) == (0, True)
        ran = run("upload", "-i", folder, "--host", url, "--skip-unreadable", "--json")
    assert [one["file"] for one in json.loads(ran.out)["skipped"]] == ["4.dcm"]
