"""Nothing of a patient is found anywhere but in the answers: words planted in all that a request has room for are
searched for in all that a server writes, while it works, after it was stopped and after it was killed."""

import base64
import contextlib
import hashlib
import io
import json
import os
import resource
import signal
import socket
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.dicom.samples import phantom
from gateway.observe.audit.receipts import HEADER, read_receipt
from tests.conftest import Serve
from tests.observe.collector import Collector
from tests.require import require
from tests.server.canaries import CANARIES, found, planted, spellings
from tests.server.running import FORMS, Running
from tests.waiting import PATIENCE, eventually

SIZE = 16
FORMATS = ("text", "json")
OWN_WORDS = {"refuses", "invalid", "unknown name"}
"""Requests whose problem quotes the model's own text, or the sender's unknown name."""
STATUSES = {
    200: (
        "answers",
        "astray",
        "query",
        "typed",
        "study path",
        "ping",
        "kept",
        "reference",
        "kept answer",
        "studies",
        "forgotten",
    ),
    400: ("charset", "no JSON", "other boundary", "part header", "timeout", "manifest"),
    403: ("forbidden",),
    404: ("absent", "path", "no study", "no result", "no bundle"),
    405: ("method", "known path"),
    415: ("content coding", "media type"),
    422: ("refuses", "unknown name", "no number"),
    500: ("raises", "invalid", "exhausts", "ends"),
}
"""The status of each request, which shows that it reached its stage."""
MEMORY = Path("/dev/shm")
INSPECTED = ("cmdline", "environ", "comm")
"""The files by which a process of this user can read another."""


def study() -> list[bytes]:
    """Two slices with a word in each place for one."""
    files = []
    for dataset in phantom.datasets(slices=2, size=SIZE):
        dataset.PatientName, dataset.PatientID = planted("PatientName"), planted("PatientID")
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SeriesDescription = planted("SeriesDescription")
        dataset.PatientBirthDate = "19700101"
        dataset.private_block(0x0011, "CANARY", create=True).add_new(0x01, "LO", planted("private"))
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        files.append(file.getvalue().replace(b"19700101", planted("PatientBirthDate").encode()))
    return files


def headers() -> dict[str, str]:
    """A word in each field that the gateway or a library of it could look at."""
    plain = ("X-Request-ID", "User-Agent", "tracestate", "baggage", "X-Gateway-Note", "Cookie", "X-Forwarded-For")
    return {
        **{name: planted(name) for name in plain},
        "Referer": f"https://viewer.example/?patient={planted('Referer')}",
        "traceparent": f"00-{planted('traceparent')}-{planted('traceparent')}-01",
        "Accept": f"multipart/related; type={planted('Accept')}",
        "Origin": f"https://{planted('Origin')}.example",
        "Sec-Fetch-Site": "same-origin",  # else a page of another origin, which is refused
        "Prefer": f"receipt, {planted('Prefer')}",
        "Authorization": f"Bearer {planted('Authorization')}",
    }


def body(words: object, files: list[bytes]) -> bytes:
    """The parts, with words for names, file names and a field of their heads, between words for a boundary."""
    boundary = b"--" + planted("boundary").encode()
    first = b"Content-Type: application/json; charset=utf-8\r\n\r\n" + json.dumps(words).encode()
    head = f'Content-Disposition: form-data; name="{planted("part name")}"; filename="{planted("file name")}.dcm"\r\n'
    head += f"X-Note: {planted('part header')}\r\n\r\n"
    parts = [first, *(head.encode() + file for file in files)]
    return b"".join(boundary + b"\r\n" + part + b"\r\n" for part in parts) + boundary + b"--\r\n"


TYPE = f"multipart/related; boundary={planted('boundary')}"
JSON = "application/json"
WORDS = {CANARIES["JSON name"]: CANARIES["JSON value"], "x": [{"y": planted("PatientName")}]}


@dataclass
class Evidence:
    """All that a server wrote, by where it was found."""

    form: str
    answers: dict[str, requests.Response] = field(default_factory=dict)
    places: dict[str, dict[str, bytes]] = field(default_factory=dict)
    limits: set[str] = field(default_factory=set)

    def add(self, place: str, name: str, data: bytes | str) -> None:
        told = data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape")
        self.places.setdefault(place, {})[name] = told

    def leaks(self, place: str) -> dict[str, set[str]]:
        told = self.places.get(place, {}).items()
        return {name: words for name, data in told if (words := found(name) | found(data))}


class Server:
    """One server with every sink there is, in a world of its own below ``folder``."""

    def __init__(self, serve: Serve, collector: Collector, store: str, folder: Path, form: str, lines: str) -> None:
        self.folder, self.evidence = folder, Evidence(form)
        self.files, self.others = study(), set(MEMORY.rglob("*"))
        for name in ("tmp", "spool", "store", "audit"):
            (folder / name).mkdir()
        kept = folder / "root" / planted("study path")
        kept.mkdir(parents=True)
        (kept / f"{planted('file name')}.dcm").write_bytes(self.files[0])
        mark = uuid.uuid4().hex
        server = serve(
            "tests.apps.canary:app",
            *("--workers", "2"),
            RUNNING_TEST_MARK=mark,
            TMPDIR=str(folder / "tmp"),
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="200",
            AWS_ENDPOINT_URL=store,
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "tests"),
            AWS_DEFAULT_REGION="us-east-1",
            GATEWAY_MODEL_PROCESSES=FORMS[form],
            GATEWAY_LOG_FORMAT=lines,
            GATEWAY_SPOOL_THRESHOLD="64",
            GATEWAY_SPOOL_FOLDER=str(folder / "spool"),
            GATEWAY_STUDY_ROOT=str(folder / "root"),
            GATEWAY_STORE_FOLDER=str(folder / "store"),
            GATEWAY_AUDIT_FILE=str(folder / "audit" / "audit.jsonl"),
            GATEWAY_AUDIT_SQL=f"sqlite:///{folder}/audit/audit.db",
            GATEWAY_AUDIT_S3=f"audit/{folder.name}",
        )
        self.running = Running(server, folder, mark, form)
        eventually(self.running.is_ready)

    def ask(self, name: str, route: str, words: object = WORDS, *, path: str = "", **more: str) -> None:
        """Send the study to a route, with a word in each place."""
        self.send(name, "POST", f"/{route}{path}", body(words, self.files), TYPE, **more)

    def send(self, name: str, method: str, path: str, data: bytes | None = None, kind: str = "", **more: str) -> None:
        sent = {**headers(), "Connection": "close", **({"Content-Type": kind} if kind else {}), **more}
        answer = requests.request(method, self.running.url + path, data=data, headers=sent, timeout=PATIENCE)
        self.evidence.answers[name] = answer

    def raw(self, name: str, head: str) -> None:
        """Send bytes that no library would, and read the response until the server closes."""
        with socket.create_connection(("127.0.0.1", self.running.server.port), timeout=PATIENCE) as connection:
            connection.sendall(head.encode() + b"\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                told = b"".join(iter(lambda: connection.recv(65536), b""))
                self.evidence.add("problems", name, told)

    def look(self, moment: str) -> None:
        """Collect every named file of the server, and the visible state of its processes."""
        for folder in (self.folder / "tmp", self.folder / "spool"):
            for path in sorted(folder.rglob("*")):
                content = path.read_bytes() if path.is_file() else b""
                self.evidence.add("temporary files", f"{moment} {path.relative_to(self.folder)}", content)
        for path in set(MEMORY.rglob("*")) - self.others:
            with contextlib.suppress(OSError):  # of a test beside this one, and gone
                self.evidence.add("shared memory", f"{moment} {path}", path.read_bytes() if path.is_file() else b"")
        for pid in self.running.family():
            self._look_at(moment, pid)

    def _look_at(self, moment: str, pid: int) -> None:
        proc = Path("/proc", str(pid))
        for path in [*(proc / name for name in INSPECTED), *proc.glob("task/*/comm")]:
            with contextlib.suppress(OSError):
                self.evidence.add("processes", f"{moment} {path}", path.read_bytes())
        with contextlib.suppress(OSError):
            for link in (proc / "fd").iterdir():
                with contextlib.suppress(OSError):
                    self.evidence.add("processes", f"{moment} {link}", str(link.readlink()))
            lines = (proc / "limits").read_text().splitlines()
            self.evidence.limits |= {line.split()[4] for line in lines if line.startswith("Max core file size")}


def inference(server: Server) -> None:
    """Every model, every field, every way to be refused."""
    for route in ("answers", "raises", "refuses", "invalid", "exhausts", "ends", "astray"):
        server.ask(route, route)
    server.ask("typed", "typed", {"note": CANARIES["JSON value"], "threshold": 50})
    server.ask("unknown name", "typed", {CANARIES["unknown name"]: 1})
    server.ask("no number", "typed", {"threshold": planted("JSON value")})
    server.ask("query", "answers", path=f"?patient={planted('query')}")
    server.ask("timeout", "answers", **{"X-Request-Timeout": planted("timeout")})
    server.ask("content coding", "answers", **{"Content-Encoding": planted("content coding")})
    other = body(WORDS, server.files)
    server.send("media type", "POST", "/answers", other, f"text/{planted('media type')}")
    server.send("other boundary", "POST", "/answers", other, "multipart/related; boundary=other")
    broken = body(WORDS, server.files).replace(b"charset=utf-8", f"charset={planted('charset')}".encode())
    server.send("charset", "POST", "/answers", broken, TYPE)
    server.send("no JSON", "POST", "/answers", broken.replace(b'{"', b'"', 1), TYPE)
    header = broken.replace(b"X-Note: ", b"X-Note: \x01")
    server.send("part header", "POST", "/answers", header, TYPE)
    paths = {"study path": CANARIES["study path"], "absent": CANARIES["absent path"]}
    paths |= {"forbidden": f"../../{CANARIES['forbidden path']}"}
    for name, path in paths.items():
        words = json.dumps({"studyPath": path, **WORDS}).encode()
        server.send(name, "POST", "/answers", words, JSON)


def elsewhere(server: Server) -> None:
    """Paths, methods and heads that the gateway does not know."""
    server.send("path", "GET", f"/{planted('path')}/{planted('path')}?{planted('query')}")
    server.send("method", planted("method"), "/answers")
    server.send("known path", "DELETE", "/answers")
    server.send("ping", "GET", f"/ping?{planted('query')}")
    end = "HTTP/1.1\r\nHost: localhost\r\nConnection: close"
    post = f"POST /answers {end}\r\nContent-Type: {TYPE}"
    for name, head in {
        "line": f"GET /{planted('line')} {planted('line')} {planted('line')}",
        "version": f"GET / HTTP/{planted('version')}",
        "lower method": f"{planted('method').lower()} /answers {end}",
        "header name": f"GET / {end}\r\n{planted('header name')} x: {planted('header value')}",
        "header value": f"GET / {end}\r\nX-Note: {planted('header value')}\x01",
        "length": f"{post}\r\nContent-Length: {planted('length')}",
        "chunk": f"{post}\r\nTransfer-Encoding: chunked\r\n\r\n{planted('chunk')}",
        "encoding": f"{post}\r\nTransfer-Encoding: {planted('encoding')}",
        "expectation": f"{post}\r\nExpect: {planted('expectation')}\r\nContent-Length: 0",
        "host": f"GET /ping {end.replace('localhost', planted('Host'))}",
        "long": f"GET /{planted('line')}{'a' * 9000} {end}",
    }.items():
        server.raw(name, head)


def storing(server: Server) -> None:
    """Studies that are stored, requested and forgotten, and requests for missing ones."""
    from pydicom import dcmread

    entries = []
    for file in server.files:
        read = dcmread(io.BytesIO(file), stop_before_pixels=True)
        uids = {"sop_instance_uid": read.SOPInstanceUID, "series_instance_uid": read.SeriesInstanceUID}
        digest = hashlib.sha256(file).hexdigest()
        entries.append({**uids, "study_instance_uid": read.StudyInstanceUID, "size": len(file), "sha256": digest})
    server.send("kept", "POST", "/studies/instances", body({"instances": entries}, server.files), TYPE)
    server.send("manifest", "POST", "/studies/manifest", json.dumps([{"x": planted("JSON value")}]).encode(), JSON)
    uid = entries[0]["study_instance_uid"]
    reference = {"study": uid, "note": CANARIES["reference"]}
    for name in ("reference", "kept answer"):
        server.send(name, "POST", "/typed", json.dumps(reference).encode(), JSON)
    server.send("studies", "GET", f"/studies?after={planted('query')}")
    server.send("no study", "GET", f"/studies/{planted('study')}")
    server.send("no result", "GET", f"/results/{planted('study')}")
    server.send("no bundle", "GET", f"/bundles/{planted('bundle')}")
    for name, data in _store(server.folder / "store"):
        server.evidence.add("store", name, data)
    server.send("forgotten", "DELETE", f"/studies/{uid}")


def _store(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names of all files, the contents of those that hold no study and no answer, and the rows of the index."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hold = path.is_file() and inside.parts[0] in ("instances", "results", "incoming")
        yield str(inside), path.read_bytes() if path.is_file() and not hold else b""
    for path in folder.glob("*.db"):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            yield f"rows of {path.name}", "\n".join(connection.iterdump()).encode()


def dying(server: Server) -> None:
    """A model that crashes its process, and a server that is killed with a study in work."""
    if server.evidence.form == "process":
        server.ask("crashes", "crashes")
    asked = threading.Thread(target=_last_words, args=[server])
    asked.start()
    eventually((server.folder / "never.begun").exists)
    server.look("in work")
    server.evidence.add("metrics", "/metrics", server.running.get("/metrics").content)
    for pid in [server.running.master, *server.running.family()]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.running.server.process.wait()
    asked.join()
    eventually(lambda: not server.running.family())
    server.look("killed")


def _last_words(server: Server) -> None:
    with contextlib.suppress(requests.RequestException):  # broken off before its answer, or within
        server.ask("killed", "answers", {**WORDS, "until": str(server.folder / "never")})


def audits(server: Server, client: Any) -> None:
    for path in (server.folder / "audit").iterdir():
        server.evidence.add("audit", path.name, path.read_bytes())
    for item in client.list_objects_v2(Bucket="audit", Prefix=f"{server.folder.name}/").get("Contents", []):
        told = client.get_object(Bucket="audit", Key=item["Key"])
        server.evidence.add("audit", f"s3 {item['Key']}", told["Body"].read() + repr(told["Metadata"]).encode())


def answers(evidence: Evidence) -> None:
    """Heads of all answers, bodies of all problems but those that are a model's own words, receipts read."""
    for name, answer in evidence.answers.items():
        evidence.add("heads", name, "\n".join(f"{field}: {value}" for field, value in answer.headers.items()))
        if HEADER in answer.headers:
            receipt = answer.headers[HEADER]
            clear = base64.urlsafe_b64decode(receipt + "=" * (-len(receipt) % 4))
            evidence.add("receipts", name, clear + json.dumps(read_receipt(receipt)).encode())
        if answer.status_code >= 400 and name not in OWN_WORDS:
            evidence.add("problems", name, answer.content)


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, Any]]:
    """A store of objects, and a client of it."""
    require(all(map(find_spec, ("boto3", "moto", "flask_cors"))), "boto3 and moto[server] stand in for S3")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    secrets = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "tests")
    client = boto3.Session(region_name="us-east-1", **secrets).client("s3", endpoint_url=url)
    client.create_bucket(Bucket="audit")
    yield url, client
    client.close()
    server.stop()


IN_EACH_RUN = {("inline", "text"), ("process", "json")}
KINDS = [
    pytest.param((form, one), id=f"{form}-{one}", marks=() if (form, one) in IN_EACH_RUN else pytest.mark.slow)
    for form in FORMS
    for one in FORMATS
]


@pytest.fixture(scope="module", params=KINDS)
def evidence(
    request: pytest.FixtureRequest, serve: Serve, bucket: tuple[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Evidence]:
    """Everything that one server wrote."""
    core, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # as in many containers
    try:
        with Collector() as collector:
            server = Server(serve, collector, bucket[0], tmp_path_factory.mktemp("canary"), *request.param)
            inference(server)
            elsewhere(server)
            storing(server)
            eventually(lambda: len([one for one in collector.spans if one.name.startswith("POST")]) >= 20)
            dying(server)
            server.evidence.add("traces", "spans", b"".join(collector.raw))
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (core, hard))
    audits(server, bucket[1])
    answers(server.evidence)
    server.evidence.add("logs", "stdout and stderr", server.running.server.log_file.read_bytes())
    yield server.evidence


@pytest.mark.parametrize(
    "place",
    [
        *("logs", "metrics", "traces", "audit", "receipts", "problems", "heads"),
        *("temporary files", "shared memory", "processes", "store"),
    ],
)
def test_nothing_of_a_patient_is_found_in(evidence: Evidence, place: str) -> None:
    if place != "temporary files":  # of which there should be none
        assert evidence.places[place]
    assert evidence.leaks(place) == {}


def test_the_canaries_were_there_to_be_found(evidence: Evidence) -> None:
    seen = found(evidence.answers["answers"].content)
    assert {"PatientName", "JSON name", "JSON value"} <= seen
    assert "PatientName" in found(evidence.answers["refuses"].content)
    told = {name: answer.status_code for name, answer in evidence.answers.items()}
    should = {name: status for status, names in STATUSES.items() for name in names}
    assert {name: told[name] for name in should} == should
    assert told.get("crashes") == (502 if evidence.form == "process" else None)


def test_what_fails_where_no_caller_is_is_logged_by_its_frames(evidence: Evidence) -> None:
    log = evidence.places["logs"]["stdout and stderr"].decode()
    for what in ("ended a thread", "could not be raised"):
        assert log.count(f"an exception {what}") == 1
    assert "astray.<locals>.fail" in log


def test_no_process_that_holds_a_study_leaves_a_dump_of_its_memory(evidence: Evidence) -> None:
    assert evidence.limits <= {"0", "1"}


@pytest.mark.parametrize("place", CANARIES)
def test_a_canary_is_found_in_any_spelling(place: str) -> None:
    word = CANARIES[place]
    told = [word, word.upper(), word.encode("utf-16"), json.dumps(planted(place)), word.encode().hex().upper()]
    told += [base64.b64encode(bytes(ahead) + word.encode() + b"..") for ahead in range(5)]
    assert all(found(one) == {place} for one in [*told, *spellings(word)])
    assert found(uuid.uuid4().hex) == set()
