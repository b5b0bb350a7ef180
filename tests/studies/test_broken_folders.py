"""Folders and files are gone, swapped or changed while the gateway runs: what is broken, by what is asked.

Nothing hangs, an answer arrives whole where it cannot be kept, every refusal is a problem, and repair is noticed.
"""

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from requests_toolbelt import MultipartDecoder
from werkzeug.test import TestResponse

from gateway import Gateway, Mask, Settings, Volume
from gateway.access import listeners
from gateway.wire import OutgoingPart, encode
from tests.studies.files import File, file, files
from tests.waiting import PATIENCE

SPOOLED = 1 << 20
"""Bytes of a body that are more than the spool keeps in memory here."""
WEIGHTS = b"weights"


def dense(ct: Volume) -> Mask:
    return Mask(ct.array > 100, "Dense")


class Desk:
    """One gateway with a stored study, a cached answer and a bundle, and what its callers ask."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study, self.news = files(3, study="stored")[::-1], file("news", study="news")
        for name in ("spool", "audit", "root/study"):
            (folder / name).mkdir(parents=True)
        for number, one in enumerate(self.study):
            (folder / "root" / "study" / f"{number}.dcm").write_bytes(one.data)
        settings = Settings(
            store_folder=folder / "store",
            spool_folder=folder / "spool",
            spool_threshold=SPOOLED // 2,
            audit_file=folder / "audit" / "audit.jsonl",
            study_root=folder / "root",
        )
        listeners.announce([("127.0.0.1", 1)])  # bundles are an administrator's
        self.app = Gateway("service", settings=settings)
        self.app.model("/same", deterministic=True)(dense)
        self.app.model("/free")(dense)
        self.client = self.app.test_client()
        for ask in (self.send, self.push, self.named):
            assert ask().status_code == 200
        self.result = self.client.get("/results").json["results"][0]["id"]

    def close(self) -> None:
        assert self.app.service.store is not None
        self.app.service.store.store.close()
        self.app.close()

    @property
    def stored(self) -> Path:
        """The file of the first instance."""
        digest = self.study[0].entry.sha256
        return self.folder / "store" / "instances" / digest[:2] / digest

    def parts(self, path: str, words: object, data: list[bytes]) -> TestResponse:
        first = OutgoingPart.named("json", "application/json", json.dumps(words).encode())
        parts = [first, *(OutgoingPart.named("file", "application/octet-stream", one) for one in data)]
        kind = "multipart/related; boundary=b"
        return self.client.post(path, data=b"".join(encode("b", parts)), content_type=kind)

    def inline(self) -> TestResponse:
        return self.parts("/same", {}, [one.data for one in self.study])

    def spooled(self) -> TestResponse:
        return self.parts("/free", {"note": "x" * SPOOLED}, [one.data for one in self.study])

    def path(self) -> TestResponse:
        return self.client.post("/free", json={"studyPath": "study"})

    def named(self) -> TestResponse:
        return self.client.post("/same", json={"study": self.study[0].entry.study_instance_uid})

    def renewed(self) -> TestResponse:
        json = {"study": self.study[0].entry.study_instance_uid}
        return self.client.post("/same", json=json, headers={"Cache-Control": "no-cache"})

    def manifest(self) -> TestResponse:
        return self.client.post("/studies/manifest", json=[one.words for one in self.study])

    def send(self, sent: list[File] | None = None) -> TestResponse:
        sent = sent or self.study
        return self.parts("/studies/instances", {"instances": [one.words for one in sent]}, [one.data for one in sent])

    def send_news(self) -> TestResponse:
        return self.send([self.news])

    def studies(self) -> TestResponse:
        return self.client.get("/studies")

    def results(self) -> TestResponse:
        return self.client.get("/results")

    def one_result(self) -> TestResponse:
        return self.client.get(f"/results/{self.result}")

    def push(self) -> TestResponse:
        entry = {"key": "a", "sha256": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS), "mtime": 0}
        return self.parts("/bundles/lungs/files", {"files": [entry]}, [WEIGHTS])

    def pull(self) -> TestResponse:
        return self.client.get(f"/bundles/lungs/files/{hashlib.sha256(WEIGHTS).hexdigest()}")

    def forget(self) -> TestResponse:
        return self.client.delete(f"/studies/{self.study[0].entry.study_instance_uid}")


STORED = ("named", "renewed", "manifest", "send", "send_news", "studies", "results", "one_result", "push", "pull")
"""What needs the store, in an order in which no request takes away what the next one needs."""
ASKS = ("inline", "spooled", "path", *STORED, "forget")
ANSWERS = {"inline", "spooled", "path", "named", "renewed"}
EVERYTHING = dict.fromkeys((*STORED, "forget"), 503)

REFUSALS: dict[str, dict[str, int]] = {
    "store": EVERYTHING,
    "store/index.sqlite": EVERYTHING,
    "store/index.sqlite-wal": EVERYTHING,
    "store/incoming": dict.fromkeys(("send", "send_news", "push"), 503),
    "store/instances": dict.fromkeys(("named", "renewed", "send", "send_news", "forget"), 503),
    "store/instances/quarantine": dict.fromkeys(("send_news", "forget"), 503),
    "store/results": dict.fromkeys(("one_result", "forget"), 503),
    "store/bundles": dict.fromkeys(("push", "pull"), 503),
    "spool": {"spooled": 503},
    "audit": {},
    "audit/audit.jsonl": {},
    "audit/audit.jsonl.head": {},
    "root": {"path": 404},
}
"""What is refused while a path is broken; all else is answered. An audit that is not required refuses nothing."""
EMPTY_FOLDERS = {"store/incoming", "store/instances/quarantine", "spool"}
"""Folders in whose place an empty one is as good."""

SWAPS: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: None,
    "a file": lambda path: path.write_bytes(b"x"),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to(path.parent / "nothing"),
}
"""What is made in the place of a path that was moved away."""
OFTEN = {"gone", "a folder", "a pipe"}
"""Those that ``make test`` tries on every path: no file, another kind of file, and one that would block its reader."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@contextmanager
def swapped(path: Path, make: Callable[[Path], object]) -> Iterator[None]:
    """Something else lies at a path for a while."""
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    make(path)
    yield
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path)
    aside.rename(path)


def answered(desk: Desk, ask: str) -> int:
    """The status of an answer that is whole, or of a problem that blames no model; nothing hangs."""
    answers: list[TestResponse] = []
    thread = threading.Thread(target=lambda: answers.append(getattr(desk, ask)()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    (answer,) = answers
    answer.get_data()
    answer.close()
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        assert answer.json["type"].rpartition(":")[2] not in ("model-failed", "internal-error")
        assert str(desk.folder) not in answer.text
    elif ask in ANSWERS:
        *parts, hashes = [part.content for part in MultipartDecoder(answer.data, answer.content_type).parts]
        assert hashes.decode().partition(":")[2] == hashlib.sha256(b"".join(parts)).hexdigest()
    return answer.status_code


def refused(desk: Desk, asks: Sequence[str] = ASKS) -> dict[str, int]:
    statuses = {ask: answered(desk, ask) for ask in asks}
    return {ask: status for ask, status in statuses.items() if status >= 400}


@pytest.mark.parametrize(
    "names", [OFTEN, pytest.param(SWAPS.keys() - OFTEN, marks=pytest.mark.slow)], ids=["often", "rare"]
)
@pytest.mark.parametrize("place", REFUSALS)
def test_while_a_path_is_broken_what_needs_it_is_a_problem_and_all_else_is_answered(
    desk: Desk, place: str, names: set[str]
) -> None:
    for name in sorted(names):
        expected = {} if name == "a folder" and place in EMPTY_FOLDERS else REFUSALS[place]
        with swapped(desk.folder / place, SWAPS[name]):
            assert (name, refused(desk)) == (name, expected)
        desk.client.delete(f"/studies/{desk.news.entry.study_instance_uid}")
        assert desk.send().status_code == 200
        assert refused(desk, ("spooled", "path", "renewed", "named")) == {}
        desk.result = desk.client.get("/results").json["results"][0]["id"]


@pytest.mark.parametrize("name", [*SWAPS, "endless", "empty"])
def test_a_stored_file_that_is_no_longer_itself_is_set_aside_and_can_be_sent_again(desk: Desk, name: str) -> None:
    if name in SWAPS:
        desk.stored.rename(desk.stored.with_name("aside"))
        SWAPS[name](desk.stored)
    else:
        os.truncate(desk.stored, 1 << 42 if name == "endless" else 0)
    assert refused(desk, ("inline", "named", "renewed", "send", "forget")) == {"named": 404, "renewed": 404}
    assert refused(desk, ("send", "named", "renewed")) == {}
    assert not any(path.is_file() for path in (desk.folder / "store/instances/quarantine").rglob("*"))


FILES_OF_A_STUDY = {
    "gone": 200,  # the other slices are a study too
    "a file": 422,
    "a folder": 200,
    "a pipe": 200,
    "a device": 403,
    "a link to nothing": 404,
}


def test_a_study_below_the_study_root_never_delays_its_reader(desk: Desk) -> None:
    for name, status in FILES_OF_A_STUDY.items():
        with swapped(desk.folder / "root/study/0.dcm", SWAPS[name]):
            assert (name, answered(desk, "path")) == (name, status)
    os.truncate(desk.folder / "root/study/0.dcm", 1 << 42)
    assert answered(desk, "path") == 413


def test_an_answer_that_is_not_stored_is_logged_and_counted(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    def failures() -> float:
        (line,) = re.findall(r"^gateway_store_failures_total (\S+)$", desk.client.get("/metrics").text, re.MULTILINE)
        return float(line)

    before = failures()
    with swapped(desk.folder / "store/results", SWAPS["gone"]):
        assert refused(desk, ["renewed", "named"]) == {}
    assert failures() - before == 3, "neither was stored, and the second was looked for"
    assert "an answer was not stored: unavailable store: ENOENT" in caplog.text


def test_an_audit_that_is_required_refuses_while_it_cannot_be_written(tmp_path: Path) -> None:
    app = Gateway(
        "service",
        settings=Settings(
            audit_file=tmp_path / "audit/audit.jsonl", audit_required=True, audit_key_file=tmp_path / "key"
        ),
    )
    app.add_inference_route("/plain", lambda json, files, digest: ({}, []))
    (tmp_path / "audit").mkdir()

    def ask() -> int:
        body, kind = b"--b\r\n\r\n{}\r\n--b--\r\n", "multipart/related; boundary=b"
        with app.test_client().post("/plain", data=body, content_type=kind) as answer:
            return answer.status_code

    assert ask() == 200
    for name, make in SWAPS.items():
        with swapped(tmp_path / "audit", make):
            statuses = {ask(), ask()} - {200}  # the first is admitted before its record fails
            assert (name, statuses) == (name, set() if name == "a folder" else {503})
        assert ask() == 200
    app.close()
