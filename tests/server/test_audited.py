"""Under real gunicorn: one whole chain whatever the workers suffer, and no answer where it is required and fails."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pydicom
import pytest
import requests

from gateway.dicom.samples import phantom
from gateway.observe.audit.canonical import read_key
from gateway.observe.audit.chain import key_path
from gateway.observe.audit.receipts import HEADER, read_receipt
from gateway.observe.audit.verify import verify
from tests.conftest import ROOT, Serve, Server
from tests.waiting import PATIENCE, eventually

CANARY = "CANARY"


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A request for tests.apps.typed, a canary's name in the DICOM, the JSON and the names of files."""
    dataset = pydicom.dcmread(phantom.write(tmp_path_factory.mktemp("study"), slices=1, size=16)[0])
    dataset.PatientName, dataset.PatientID = f"{CANARY}^Jane", f"{CANARY}7"
    image = io.BytesIO()
    dataset.save_as(image)
    words = json.dumps({"threshold": 100, "note": CANARY}).encode()
    head = b'Content-Disposition: form-data; name="0"; filename="%s.dcm"\r\n\r\n' % CANARY.encode()
    return b"--b\r\n\r\n" + words + b"\r\n--b\r\n" + head + image.getvalue() + b"\r\n--b--\r\n"


def ask(server: Server, body: bytes, **headers: str) -> requests.Response:
    kind = {"Content-Type": "multipart/related; boundary=b", "X-Request-ID": f"{CANARY}.Jane", "User-Agent": CANARY}
    return requests.post(f"{server.url}/dense", data=body, headers=kind | headers, timeout=PATIENCE)


def records(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_each_answer_and_each_refusal_is_a_record_without_a_patient(serve: Serve, tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "audit.jsonl"
    server = serve("tests.apps.typed:app", GATEWAY_AUDIT_FILE=str(file))
    answer = ask(server, body, Prefer="receipt")
    refused = ask(server, body.replace(b'"threshold": 100', b'"threshold": 9e9'))
    assert (answer.status_code, refused.status_code) == (200, 422)
    server.stop()
    one, other = records(file)
    assert (one["status"], one["reason"], one["route"]) == (200, "", "/dense")
    assert (other["status"], other["reason"], other["output"]) == (422, "parameter-refused", "")
    hashes = answer.content.rpartition(b"\r\n\r\n")[2][:129].decode()
    assert f"{one['input']}:{one['output']}" == hashes
    assert set(json.loads(json.dumps(one["phases_us"]))) >= {"receive", "predict"}
    assert CANARY not in file.read_text()
    assert CANARY not in json.dumps(read_receipt(answer.headers[HEADER]))
    verified = subprocess.run(
        [sys.executable, "-m", "gateway", "audit", "verify", str(file)], cwd=ROOT, capture_output=True, text=True
    )
    assert verified.returncode == 0, verified.stdout


def test_the_chain_of_workers_that_are_killed_is_whole_and_has_every_answer(
    serve: Serve, tmp_path: Path, body: bytes
) -> None:
    file = tmp_path / "audit.jsonl"
    server = serve("tests.apps.typed:app", "--workers", "3", GATEWAY_AUDIT_FILE=str(file))
    answered: list[int] = []

    def client() -> None:
        for _ in range(60):
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                answered.append(ask(server, body).status_code)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    for killed, enough in enumerate((60, 120)):
        eventually(lambda enough=enough: len(answered) >= enough)
        eventually(lambda killed=killed: server.log.count("Booting worker") == 3 + killed)
        os.kill(int(re.findall(r"Booting worker with pid: (\d+)", server.log)[-1]), signal.SIGKILL)
    for each in clients:
        each.join()
    eventually(lambda: server.log.count("Booting worker") == 5)
    server.stop()
    verdict = verify([file], key=read_key(key_path(file)))
    assert verdict.whole, verdict.faults
    assert answered.count(200) == len(answered) >= 240 - 2 * 4
    # an answer may have arrived from a worker that was killed before it wrote the record
    assert answered.count(200) - 2 * 4 <= verdict.records <= 240


def test_where_the_audit_is_required_and_cannot_be_written_nothing_is_answered(
    serve: Serve, tmp_path: Path, body: bytes
) -> None:
    folder = tmp_path / "later"
    key = tmp_path / "key"
    server = serve(
        "tests.apps.typed:app",
        GATEWAY_AUDIT_FILE=str(folder / "audit.jsonl"),
        GATEWAY_AUDIT_KEY_FILE=str(key),
        GATEWAY_AUDIT_REQUIRED="1",
    )
    refused = ask(server, body)
    assert (refused.status_code, refused.headers["Content-Type"]) == (503, "application/problem+json")
    assert refused.headers["Retry-After"] == "5"
    assert str(tmp_path) not in refused.text
    folder.mkdir()
    assert ask(server, body).status_code == 200
    server.stop()
    statuses = [record["status"] for record in records(folder / "audit.jsonl")]
    assert statuses == [503, 200], "the refusal waited in memory, and is the first record"


def test_without_being_required_a_file_that_cannot_be_written_is_a_warning(
    serve: Serve, tmp_path: Path, body: bytes
) -> None:
    server = serve(
        "tests.apps.typed:app",
        GATEWAY_AUDIT_FILE=str(tmp_path / "no" / "audit.jsonl"),
        GATEWAY_AUDIT_KEY_FILE=str(tmp_path / "key"),
    )
    assert [ask(server, body).status_code for _ in range(2)] == [200, 200]
    server.stop()
    assert server.log.count("the audit's file takes no records: FileNotFoundError") == 1
