"""Under real gunicorn, models in workers and in processes: a reference is answered like its bytes, from the cache."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import requests

from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller, Role
from gateway.access.callers_file import CallerEntry, change
from gateway.observe.audit.receipts import HEADER, read_receipt
from tests.conftest import ROOT, Serve
from tests.studies.asking import Asking, plain
from tests.studies.files import File, files
from tests.studies.recalling import Models, digest_of
from tests.waiting import PATIENCE, eventually

APP = "tests.apps.recalled:app"
ROLES: tuple[Role, ...] = ("infer", "read", "write", "delete")
Start = Callable[..., Models]


@pytest.fixture(scope="module", params=["inside the workers", "in a process"])
def processes(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"GATEWAY_MODEL_PROCESSES": "1"} if request.param == "in a process" else {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, processes: dict[str, str]) -> Path:
    return tmp_path_factory.mktemp("recall")


@pytest.fixture(scope="module")
def start(serve: Serve, folder: Path, processes: dict[str, str]) -> Start:
    """Serve the models on one store, whatever else is set; a server of one worker, which is ready then."""

    def started(**environment: str) -> Models:
        calls = folder / "calls"
        shared = {"GATEWAY_STORE_FOLDER": str(folder / "store"), "TEST_CALLS": str(calls), **processes}
        running = serve(APP, **shared | environment)
        eventually(lambda: requests.get(f"{running.url}/healthcheck", timeout=PATIENCE).text == "READY")
        return Models(running.url, calls)

    return started


@pytest.fixture(scope="module")
def audit(folder: Path) -> Path:
    return folder / "audit.jsonl"


@pytest.fixture(scope="module")
def models(start: Start, audit: Path) -> Models:
    return start(GATEWAY_AUDIT_FILE=str(audit))


def kept(models: Models, study: str, count: int = 5) -> list[File]:
    """A stored study, its files from foot to head."""
    made = files(count, study=study)[::-1]
    Asking(models.url, models.key).send_missing(made)
    return made


def study_of(made: list[File]) -> dict[str, Any]:
    return {"study": made[0].entry.study_instance_uid}


def records(audit: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in audit.read_text().splitlines()] if audit.exists() else []


# ---- what is named is answered as what is sent ----


def references(made: list[File]) -> list[dict[str, Any]]:
    entry = made[0].entry
    return [
        {"study": entry.study_instance_uid},
        {"series": entry.series_instance_uid},
        {"series": [entry.series_instance_uid]},
        {"instances": [one.entry.sha256 for one in made]},
    ]


@pytest.mark.parametrize("way", range(4))
def test_a_reference_gets_the_answer_and_the_digest_of_the_same_json_with_the_files(models: Models, way: int) -> None:
    made = kept(models, "named")
    words = {"threshold": 120, **references(made)[way]}
    named, sent = models.named("/free", words), models.sent("/free", words, made)
    assert named.parts == sent.parts
    assert named.input_digest == digest_of(words, made)


def test_instances_reach_the_model_in_the_order_of_the_reference(models: Models) -> None:
    made = kept(models, "ordered")
    turned = [made[2], made[0], made[4], made[1], made[3]]
    words = {"instances": [one.entry.sha256 for one in turned]}
    assert models.named("/free", words).input_digest == digest_of(words, turned)


def test_a_model_that_refuses_unknown_parameters_gets_no_reference(models: Models) -> None:
    made = kept(models, "strict")
    words = {"threshold": 120, **study_of(made)}
    named, sent = models.named("/same", words), models.sent("/same", {"threshold": 120}, made)
    assert named.parts[:-1] == sent.parts[:-1]
    assert named.input_digest == digest_of(words, made)
    refused = Asking(models.url).ask("POST", "/same", json={"treshold": 120, **study_of(made)})
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (422, "parameter-refused")


# ---- an answer that was given is given again ----


def test_an_answer_of_a_deterministic_model_is_returned_from_the_cache_byte_by_byte(
    models: Models, audit: Path
) -> None:
    words, told = study_of(kept(models, "again")), len(records(audit))
    first, before = models.named("/same", words, Prefer="receipt"), models.runs
    time.sleep(1.1)
    again = models.named("/same", words, Prefer="receipt")
    assert (first.kept, again.kept, models.runs - before) == (False, True, 0)
    assert again.parts == first.parts
    assert 1 <= int(again.response.headers["Age"]) < 60
    receipts = [read_receipt(one.response.headers[HEADER]) for one in (first, again)]
    for name in ("input", "output", "parameters", "model", "deterministic", "route"):
        assert receipts[0][name] == receipts[1][name] != ""
    eventually(lambda: len(records(audit)) == told + 2)  # each is written when its answer has gone
    assert [one["cached"] for one in records(audit)][-2:] == [False, True]
    same = ("input", "output", "model", "parameters", "instances", "bytes_in", "bytes_out", "status")
    assert len({json.dumps([one[name] for name in same]) for one in records(audit)[-2:]}) == 1


def test_the_first_request_after_a_restart_gets_the_cached_answer(models: Models, start: Start) -> None:
    words = study_of(kept(models, "restarted"))
    first, restarted = models.named("/same", words), start()
    before = models.runs
    again = restarted.named("/same", words)
    assert (first.kept, again.kept, models.runs - before) == (False, True, 0)
    assert again.parts == first.parts


def test_a_request_for_a_new_answer_gets_one_and_replaces_the_cached_one(models: Models) -> None:
    words, before = study_of(kept(models, "no-cache")), models.runs
    asked = [models.named("/same", words, **headers) for headers in ({}, {"Cache-Control": "no-cache"}, {})]
    assert [one.kept for one in asked] == [False, False, True]
    assert models.runs - before == 2
    assert asked[0].parts == asked[1].parts == asked[2].parts


def test_another_request_does_not_get_the_cached_answer(models: Models) -> None:
    made, before = kept(models, "others"), models.runs
    words = study_of(made)
    turned = {"instances": [one.entry.sha256 for one in reversed(made)]}
    some = {"instances": [one.entry.sha256 for one in made[:4]]}
    questions = [words, {"threshold": 101, **words}, {"threshold": 100, **words}, turned, some]
    asked = [models.named("/same", each) for each in questions]
    assert [one.kept for one in asked] == [False] * 5
    assert models.runs - before == 5
    assert len({one.input_digest for one in asked}) == 5, "the digest is over the JSON as it was sent"
    assert models.named("/same", {"threshold": 101, **words}).kept


def test_what_is_sent_and_what_promises_nothing_always_runs(models: Models) -> None:
    made, before = kept(models, "always"), models.runs
    asked = [models.sent("/same", {}, made) for _ in range(2)]
    asked += [models.named("/free", study_of(made)) for _ in range(2)]
    assert [one.kept for one in asked] == [False] * 4
    assert models.runs - before == 4


@pytest.mark.slow
def test_another_version_and_other_weights_are_another_model(start: Start, folder: Path) -> None:
    weights = folder / "weights"
    weights.write_bytes(b"old")
    first = start(TEST_VERSION="1.0", TEST_WEIGHTS=str(weights))
    words = study_of(kept(first, "versions"))
    assert [first.named("/same", words).kept for _ in range(2)] == [False, True]
    newer = start(TEST_VERSION="1.1", TEST_WEIGHTS=str(weights))
    assert [newer.named("/same", words).kept for _ in range(2)] == [False, True]
    weights.write_bytes(b"new")
    trained = start(TEST_VERSION="1.0", TEST_WEIGHTS=str(weights))
    assert [trained.named("/same", words).kept for _ in range(2)] == [False, True]


def test_a_removed_or_forgotten_answer_is_computed_again(models: Models, audit: Path) -> None:
    made, asking = kept(models, "removed"), Asking(models.url)
    words = study_of(made)
    models.named("/same", words)
    (one,) = asking.ask("GET", "/results", params={"study": words["study"]}).json()["results"]
    assert asking.ask("DELETE", f"/results/{one['id']}").status_code == 204
    assert [models.named("/same", words).kept for _ in range(2)] == [False, True]
    went = asking.ask("DELETE", f"/studies/{words['study']}").json()
    assert (went["instances"], went["results"]) == (5, 1)
    (told,) = [one for one in records(audit) if "kind" in one]
    assert (told["kind"], told["instances"], told["results"]) == ("forgotten", 5, 1)
    assert (told["bytes"], told["everybody"], told["caller"]) == (went["bytes"], False, "")
    assert words["study"] not in audit.read_text()
    command = [sys.executable, "-m", "gateway", "audit", "verify", str(audit)]
    verified = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout
    assert f"records {len(records(audit))}" in verified.stdout
    kept(models, "removed")
    assert not models.named("/same", words).kept


# ---- several callers, and a store that is too small ----


@pytest.fixture(scope="module")
def callers(start: Start, folder: Path) -> dict[str, Models]:
    keys = {name: new_key() for name in ("one", "other")}
    entries = [CallerEntry(Caller(name, frozenset(ROLES)), fingerprint(key)) for name, key in keys.items()]
    change(folder / "callers.json", lambda _: entries)
    models = start(GATEWAY_API_KEYS_FILE=str(folder / "callers.json"))
    return {name: replace(models, key=key) for name, key in keys.items()}


def test_another_caller_never_gets_the_cached_answer(callers: dict[str, Models]) -> None:
    one, other = callers["one"], callers["other"]
    words, before = study_of(kept(one, "callers")), one.runs
    kept(other, "callers")
    asked = [caller.named("/same", words) for caller in (one, other, one, other)]
    assert [each.kept for each in asked] == [False, False, True, True]
    assert one.runs - before == 2
    assert asked[0].parts == asked[1].parts


def test_a_second_caller_cannot_find_out_what_is_stored(callers: dict[str, Models]) -> None:
    here, nowhere = kept(callers["one"], "secret"), files(5, study="never sent")
    callers["one"].named("/same", study_of(here))
    other = Asking(callers["other"].url, callers["other"].key)
    for asked in zip(references(here), references(nowhere), strict=True):
        assert any(_takes_as_long(other, asked) for _ in range(5)), "a busy machine slows one more now and then"


def _takes_as_long(asking: Asking, asked: tuple[dict[str, Any], dict[str, Any]]) -> bool:
    """Whether two questions, which must have one answer, take about the same time."""
    told: list[Any] = []
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(40):  # in turns, so that a busy machine slows both alike
        began = time.perf_counter()
        answer = asking.ask("POST", "/same", json=asked[number % 2])
        seconds[number % 2].append(time.perf_counter() - began)
        told.append(plain(answer))
    assert told.count(told[0]) == 40
    assert told[0][0] == 404
    return 0.5 < median(seconds[0]) / median(seconds[1]) < 2


@pytest.mark.slow
def test_a_store_that_evicts_never_takes_what_is_being_read(start: Start, folder: Path) -> None:
    size = sum(len(one.data) for one in files(12, study="size"))
    small = start(GATEWAY_STORE_FOLDER=str(folder / "small"), GATEWAY_STORE_MAX_BYTES=str(2 * size + size // 2))
    studies = [files(12, study=("crowded", number))[::-1] for number in range(4)]
    asking, ended, wrong, seen = Asking(small.url), threading.Event(), list[Any](), Counter[int]()

    def send(made: list[File]) -> None:
        while not ended.is_set():
            answer = asking.send(made)
            if answer.status_code not in (200, 503, 507):
                wrong.append(answer.text)

    def ask(made: list[File]) -> None:
        words = study_of(made)
        while not ended.is_set():
            answer = asking.ask("POST", "/free", json=words)
            seen[answer.status_code] += 1
            if answer.status_code not in (200, 404, 503):
                wrong.append(answer.text)
            elif answer.status_code == 200 and digest_of(words, made).encode() not in answer.content[-300:]:
                wrong.append("another digest")

    threads = [threading.Thread(target=work, args=(made,)) for work in (send, ask) for made in studies]
    for thread in threads:
        thread.start()
    eventually(lambda: wrong or min(seen[200], seen[404]) >= 20)  # some were there, and some had gone
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    bytes_kept = sum(path.stat().st_size for path in (folder / "small" / "instances").rglob("*") if path.is_file())
    assert bytes_kept <= 2 * size + size // 2
    assert list((folder / "small" / "incoming").iterdir()) == []
