"""A receipt of a running gateway: the same study and model reproduce the bits, and each change is named."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import requests

from gateway.client import AnswerCorrupt
from gateway.client.wsgi import LOCAL, session
from gateway.dicom.samples import phantom
from gateway.observe.audit.receipts import HEADER, read_receipt
from tests.commands import command
from tests.conftest import Serve, Server

MODELS = """
import os
from pathlib import Path

import numpy as np

from gateway import Gateway, Mask, Volume

FOLDER = Path(__file__).parent
app = Gateway(__name__)

@app.model("/bone", version="1.0", weights=[FOLDER / "bone.weights"], deterministic=True)
def bone(ct: Volume, threshold: float = 300) -> Mask:
    return Mask(ct.array > threshold + float((FOLDER / "bone.weights").read_text()), "Bone")

@app.model("/bare", version="1.0")
def bare(ct: Volume, threshold: float = 300) -> Mask:
    return Mask(ct.array > threshold)

@app.model("/noise")
def noise(ct: Volume) -> Mask:
    return Mask(np.frombuffer(os.urandom(ct.array.size), np.uint8).reshape(ct.array.shape) > 127)

def plain(json_input, dicom_instances, input_digest):
    return {"study_ml_json": {"images": len(dicom_instances)}}, []

app.add_inference_route("/plain", plain)
"""
OPTIONS = ("-R", "threshold=123.25")


@dataclass(frozen=True)
class Bench:
    """A folder with models, a study, and a gateway that serves them."""

    folder: Path
    server: Server

    def call(self, *words: object) -> "CompletedProcess[str]":
        return command(*words, folder=self.folder)

    def receipt(self, route: str, *options: str) -> str:
        """Send the study, once for all tests; returns the file of the receipt, as seen from the folder."""
        name = f"{'-'.join([route.strip('/'), *options])}.json"
        if (self.folder / name).exists():
            return name
        words = ("-i", "study", "-o", "answer", "-r", route, "--host", self.server.url, "--receipt", name)
        sent = self.call("send", *words, *options)
        assert sent.returncode == 0, sent.stderr
        return name

    def copy(self, folder: Path) -> "Bench":
        """The same in another folder, to be changed there."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Bench(folder, self.server)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, serve: Serve) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "these.py").write_text(MODELS)
    (folder / "bone.weights").write_text("100")
    (folder / "audit.key").write_text("4b" * 32)
    phantom.write(folder / "study", slices=6, size=64)
    return Bench(folder, serve("these:app", pythonpath=folder, GATEWAY_AUDIT_KEY_FILE=str(folder / "audit.key")))


@pytest.fixture
def other(bench: Bench, tmp_path: Path) -> Bench:
    return bench.copy(tmp_path)


def lines(done: "CompletedProcess[str]") -> dict[str, str]:
    """The output of replay, by the first word of each line."""
    return {line.split()[0]: line.partition(" ")[2].strip() for line in done.stdout.splitlines()}


def test_the_same_study_and_model_give_the_same_bits(bench: Bench) -> None:
    receipt = bench.receipt("/bone", *OPTIONS)
    done = bench.call("replay", receipt, "these:bone", "-i", "study", *OPTIONS, "--key", "audit.key")
    assert done.returncode == 0, done.stdout + done.stderr
    said = lines(done)
    assert (said["input"], said["parameters"], said["model"]) == ("the same bytes", "the same", "the same")
    assert said["answer"] == "bit-equal"
    assert said["weights"].startswith("vouched for by ")
    assert said["signature"] == "holds"


def test_an_application_and_a_gateway_are_requested_on_the_receipts_route(bench: Bench) -> None:
    receipt = bench.receipt("/bare")
    for where in (("these:app",), ("--url", bench.server.url)):
        done = bench.call("replay", receipt, *where, "-i", "study")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "nothing vouches" in lines(done)["weights"]


def test_objects_in_dicom_are_made_again_with_the_time_of_receipt(bench: Bench) -> None:
    receipt = bench.receipt("/bone", "-R", "output=dicom")
    done = bench.call("replay", receipt, "these:bone", "-i", "study", "-R", "output=dicom")
    assert lines(done)["answer"] == "bit-equal", done.stdout
    later = bench.call("replay", receipt, "--url", bench.server.url, "-i", "study", "-R", "output=dicom")
    assert lines(later)["answer"].startswith("DIFFERENT")


def test_a_plain_function_has_no_card_and_its_answer_is_compared(bench: Bench) -> None:
    done = bench.call("replay", bench.receipt("/plain"), "these:plain", "-i", "study")
    assert done.returncode == 0, done.stdout + done.stderr
    said = lines(done)
    assert said["model"] == "says nothing of itself"
    assert said["answer"] == "bit-equal"
    assert "nothing vouches" in said["weights"]


def _weights(folder: Path) -> None:
    (folder / "bone.weights").write_text("101")


def _slice(folder: Path) -> None:
    path = sorted((folder / "study").iterdir())[2]
    path.write_bytes(path.read_bytes()[:-2] + b"\xff\x01")


def _missing(folder: Path) -> None:
    sorted((folder / "study").iterdir())[0].unlink()


def _version(folder: Path) -> None:
    (folder / "these.py").write_text(MODELS.replace('version="1.0"', 'version="1.1"'))


def _source(folder: Path) -> None:
    (folder / "these.py").write_text(MODELS.replace("ct.array > threshold +", "ct.array >= threshold +"))


@pytest.mark.parametrize(
    ("change", "name", "word"),
    [
        (_weights, "model", "its weights"),
        (_slice, "input", "a changed"),
        (_missing, "input", "missing"),
        (_version, "model", "its version"),
        (_source, "model", "its source or config"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_changes_since_the_receipt_are_reported(
    bench: Bench, other: Bench, change: object, name: str, word: str
) -> None:
    receipt = bench.folder / bench.receipt("/bone")
    change(other.folder)
    done = other.call("replay", receipt, "these:bone", "-i", "study")
    assert done.returncode == 1, done.stdout + done.stderr
    said = lines(done)
    assert said[name].startswith("DIFFERENT")
    assert word in said[name]
    assert name in said["verdict"]
    assert [each for each in ("input", "model") if said[each].startswith("DIFFERENT")] == [name]


def test_a_changed_parameter_is_reported(bench: Bench) -> None:
    receipt = bench.receipt("/bone", *OPTIONS)
    done = bench.call("replay", receipt, "these:bone", "-i", "study", "-R", "threshold=123.5")
    assert done.returncode == 1
    assert lines(done)["parameters"].startswith("DIFFERENT")
    assert lines(done)["model"] == "the same"


def test_a_different_answer_alone_is_reported(bench: Bench) -> None:
    done = bench.call("replay", bench.receipt("/noise"), "these:noise", "-i", "study")
    assert (done.returncode, lines(done)["input"]) == (1, "the same bytes")
    assert "does not say that it is deterministic" in lines(done)["answer"]


def test_a_changed_receipt_is_detected_by_its_signature(bench: Bench, tmp_path: Path) -> None:
    receipt = json.loads((bench.folder / bench.receipt("/bare")).read_text())
    (tmp_path / "changed.json").write_text(json.dumps(receipt | {"time": "2020-01-01T00:00:00.000000Z"}))
    done = bench.call("replay", tmp_path / "changed.json", "these:bare", "-i", "study", "--key", "audit.key")
    assert done.returncode == 1
    assert "FORGED" in lines(done)["verdict"]


@pytest.mark.parametrize("time", ["soon", "0001-01-01T00:00:00+01:00"])
def test_a_receipt_without_a_valid_time_is_refused(bench: Bench, tmp_path: Path, time: str) -> None:
    receipt = json.loads((bench.folder / bench.receipt("/bare")).read_text())
    (tmp_path / "changed.json").write_text(json.dumps(receipt | {"time": time}))
    done = bench.call("replay", tmp_path / "changed.json", "these:bare", "-i", "study")
    assert done.returncode == 1
    assert "time is invalid" in done.stderr


def test_another_clients_json_and_order_are_sent_as_they_were(bench: Bench, tmp_path: Path) -> None:
    names = sorted((bench.folder / "study").iterdir())
    for name, new in zip(names, reversed(names), strict=True):  # against the order in space
        shutil.copy(name, tmp_path / new.name)
    (tmp_path / "request.json").write_bytes(b'{ "threshold":250.0 }\r\n')
    bodies = [(tmp_path / "request.json").read_bytes()]
    bodies += [path.read_bytes() for path in sorted(tmp_path.glob("*.dcm"))]
    body = b"".join(b"--b\r\n\r\n" + each + b"\r\n" for each in bodies) + b"--b--\r\n"
    headers = {"Content-Type": "multipart/related; boundary=b", "Prefer": "respond-async, receipt"}
    answer = requests.post(f"{bench.server.url}/bone", data=body, headers=headers, timeout=60)
    assert answer.headers["Preference-Applied"] == "receipt"
    (tmp_path / "receipt.txt").write_text(answer.headers[HEADER])
    words = ("replay", tmp_path / "receipt.txt", "these:bone", "-i", tmp_path, "--json", tmp_path / "request.json")
    done = bench.call(*words)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_receipt_is_sent_only_on_request_and_has_no_parameter(bench: Bench) -> None:
    image = next((bench.folder / "study").iterdir()).read_bytes()
    body = b'--b\r\n\r\n{"threshold": 271.8281, "note": "Doe^Jane"}\r\n--b\r\n\r\n' + image + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/related; boundary=b", "X-Request-ID": "Doe.Jane"}
    url = f"{bench.server.url}/bare"
    assert HEADER not in requests.post(url, data=body, headers=headers, timeout=60).headers
    given = requests.post(url, data=body, headers=headers | {"Prefer": "receipt"}, timeout=60).headers[HEADER]
    receipt = json.dumps(read_receipt(given))
    assert "271." not in receipt  # a digest may hold the digits alone
    assert "Doe" not in receipt


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("nowhere.json", "these:bone"), 1, "nowhere.json: No such file"),
        (("these.py", "these:bone"), 1, "no receipt"),
        (("these.py",), 2, "TARGET"),
        (("these.py", "these:bone", "--url", "http://127.0.0.1:9"), 2, "TARGET"),
        (("bone.json", "these:nothing", "-i", "study"), 1, "no nothing"),
        (("bone.json", "these:bone", "-i", "nowhere"), 1, "nowhere does not exist"),
        (("bone.json", "--url", "http://127.0.0.1:9", "-i", "study"), 3, "Cannot connect"),
    ],
)
def test_a_mistake_is_a_sentence(bench: Bench, words: tuple[str, ...], status: int, sentence: str) -> None:
    bench.receipt("/bone")
    done = bench.call("replay", *words)
    assert done.returncode == status, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_without_receipts_is_reported() -> None:
    from gateway.cli.receipt_files import ReceiptRequests
    from tests.cli.service import app

    asking = ReceiptRequests(session(app))
    asking.session.get(f"{LOCAL}/ping")
    with pytest.raises(AnswerCorrupt, match="no receipt"):
        _ = asking.receipt
