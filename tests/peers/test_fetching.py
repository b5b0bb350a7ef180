"""Requests that name a study of a peer: it is fetched whole or not at all, once, and for the callers of the peer."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway import Gateway, Settings
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.client.wsgi import LOCAL, session
from tests.peers.scripted import RELATED, Asked, ScriptedPeer, archive, response, scripted, study
from tests.studies.files import File, file, files
from tests.waiting import PATIENCE, eventually

STUDY = files(3)
UID = STUDY[0].entry.study_instance_uid
ORDER = {"study": UID, "from": "pacs"}


def sizes(json_input: dict[str, Any], dicom: list[Any], digest: str) -> tuple[dict[str, Any], list[Any]]:
    return {"study_ml_json": {"sizes": [len(one.read()) for one in dicom], "json": json_input}}, []


class Site:
    """A gateway in this process beside one scripted peer, and its callers."""

    def __init__(self, folder: Path, peer: ScriptedPeer, callers: str = '["*"]', **settings: Any) -> None:
        self.folder, self.peer = folder, peer
        (folder / "peers.toml").write_text(
            f'[peers.pacs]\ndicomweb = "http://127.0.0.1:{peer.port}"\ncallers = {callers}\nread_seconds = 5\n'
        )
        settings |= {"audit_file": folder / "audit.jsonl"}
        self.app = Gateway(
            __name__, settings=Settings(store_folder=folder / "store", peers=folder / "peers.toml", **settings)
        )
        self.app.add_inference_route("/sizes", sizes)
        self.session = session(self.app)

    def infer(self, key: str = "", **words: Any) -> requests.Response:
        headers = {"X-API-Key": key} if key else {}
        if words.pop("no_cache", False):
            headers["Cache-Control"] = "no-cache"
        return self.session.post(f"{LOCAL}/sizes", json=ORDER | words, headers=headers)

    def stored(self) -> list[Any]:
        return self.session.get(f"{LOCAL}/studies").json()["studies"]

    @property
    def asked(self) -> list[str]:
        return [asked.target.partition("?")[0] for asked in self.peer.asked if "offset" not in asked.target]

    @property
    def records(self) -> list[dict[str, Any]]:
        lines = (self.folder / "audit.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record.get("kind") == "peer-fetch"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Make a site whose peer gives an answer."""
    with scripted(archive(*STUDY)) as peer:

        def make(answer: Callable[[Asked], Iterable[bytes]] | None = None, **options: Any) -> Site:
            peer.answer = answer or archive(*STUDY)
            return Site(tmp_path, peer, **options)

        yield make


def answer_of(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    text = response.text
    return json.loads(text[text.index("{") : text.index("\r\n--", text.index("{"))])["study_ml_json"]


def problem(response: requests.Response) -> tuple[int, str]:
    document = response.json()
    return response.status_code, document["type"].rpartition(":")[2]


def test_a_study_is_fetched_and_then_stays(site: Callable[..., Site]) -> None:
    here = site()
    answer = answer_of(here.infer(threshold=3))
    assert answer == {"sizes": [len(one.data) for one in reversed(STUDY)], "json": {"threshold": 3}}
    assert here.asked == [f"/studies/{UID}/instances", f"/studies/{UID}"]
    assert answer_of(here.infer()) == {**answer, "json": {}}
    assert here.asked[2:] == [f"/studies/{UID}/instances"]
    answer_of(here.infer(no_cache=True))
    assert here.asked[3:] == [f"/studies/{UID}/instances", f"/studies/{UID}"]
    assert [(record["outcome"], record["instances"], record["peer"]) for record in here.records] == [
        ("stored", 3, "pacs"),
        ("present", 0, "pacs"),
        ("stored", 3, "pacs"),
    ]
    assert UID not in json.dumps(here.records)


def test_what_the_peer_received_since_is_fetched_too(site: Callable[..., Site]) -> None:
    here = site(archive(*STUDY[:2]))
    assert len(answer_of(here.infer())["sizes"]) == 2
    here.peer.answer = archive(*STUDY)
    assert len(answer_of(here.infer())["sizes"]) == 3


def test_series_of_a_study_are_fetched_alone(site: Callable[..., Site]) -> None:
    other = files(2, series="other")
    here = site(archive(*STUDY, *other))
    series = other[0].entry.series_instance_uid
    assert len(answer_of(here.infer(series=series))["sizes"]) == 2
    assert here.asked == [f"/studies/{UID}/series/{series}/instances", f"/studies/{UID}/series/{series}"]
    assert here.stored()[0]["series"] == 1


def listed(*uids: str) -> list[bytes]:
    return response(200, json.dumps([{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]).encode())


def sending(body: bytes, *uids: str) -> Callable[[Asked], Iterable[bytes]]:
    """A peer that lists instances, and sends what it likes."""
    names = uids or tuple(one.entry.sop_instance_uid for one in STUDY)

    def answer(asked: Asked) -> Iterable[bytes]:
        return listed(*names) if "/instances" in asked.target else response(200, body, RELATED)

    return answer


def changed(one: File) -> bytes:
    """Another file of the same instance."""
    return one.data.replace(b"none", b"nine")


WHOLE = [one.data for one in STUDY]


def hostile() -> Iterator[tuple[Callable[[Asked], Iterable[bytes]], tuple[int, str]]]:
    """Answers of a peer, and how the request ends."""
    for body in (
        study(*WHOLE[:2]),
        study(*WHOLE, file("x", study="another").data),
        study(*WHOLE, b"no DICOM"),
        study(*WHOLE, changed(STUDY[0])),
        study(*WHOLE[:2], WHOLE[2][:-10]),
        study(*WHOLE)[:-30],
    ):
        yield sending(body), (502, "peer-failed")
    yield archive(), (404, "study-not-found")
    yield lambda _: response(403), (502, "peer-failed")
    yield lambda _: [], (503, "unavailable")


def test_of_a_fetch_that_fails_nothing_is_stored(site: Callable[..., Site]) -> None:
    here = site()
    for number, (answer, expected) in enumerate(hostile()):
        here.peer.answer = answer
        assert problem(here.infer()) == expected, number
        assert here.stored() == []
        assert list((here.folder / "store" / "incoming").iterdir()) == []
        assert here.records[-1]["outcome"] == expected[1]
    assert problem(here.session.post(f"{LOCAL}/sizes", json={"study": UID})) == (404, "study-not-found")


def test_another_file_of_a_stored_instance_is_a_conflict(site: Callable[..., Site]) -> None:
    here = site()
    answer_of(here.infer())
    here.peer.answer = sending(study(*WHOLE[:2], changed(STUDY[2])))
    response = here.infer(no_cache=True)
    assert problem(response) == (409, "instance-conflict")
    assert len(response.json()["conflicts"]) == 1
    here.peer.answer = lambda _: []
    assert len(answer_of(here.session.post(f"{LOCAL}/sizes", json={"study": UID}))["sizes"]) == 3


WRONG: list[dict[str, Any]] = [
    {"from": "unknown"},
    {"from": 1},
    {"from": "http://127.0.0.1/"},
    {"study": "../x"},
    {"instances": ["0" * 64]},
    {"series": "x"},
]


def test_an_order_that_is_none_is_refused_before_a_peer_is_asked(site: Callable[..., Site]) -> None:
    here = site()
    for words in WRONG:
        assert problem(here.infer(**words)) == (422, "parameter-refused"), words
    assert problem(here.session.post(f"{LOCAL}/preflight", json=ORDER)) == (422, "parameter-refused")
    assert here.peer.asked == []
    nowhere = here.session.post(f"{LOCAL}/sizes", json={"from": "pacs", "series": "1.2"})
    assert problem(nowhere) == (422, "parameter-refused")


def test_a_peer_is_used_for_its_callers_alone_and_each_has_its_own_studies(site: Callable[..., Site]) -> None:
    here = site()
    keys = {name: new_key() for name in ("viewer", "other", "second")}
    roles = frozenset({"infer", "read"})
    change(
        here.folder / "callers.json",
        lambda _: [CallerEntry(Caller(name, roles), fingerprint(key)) for name, key in keys.items()],
    )
    here = site(callers='["viewer", "second"]', api_keys_file=here.folder / "callers.json")
    assert problem(here.infer(keys["other"])) == (422, "parameter-refused")
    assert here.peer.asked == []
    answer_of(here.infer(keys["viewer"]))
    second = here.session.post(f"{LOCAL}/sizes", json={"study": UID}, headers={"X-API-Key": keys["second"]})
    assert problem(second) == (404, "study-not-found")


def test_requests_at_once_share_one_fetch(site: Callable[..., Site]) -> None:
    go, honest = threading.Event(), archive(*STUDY)

    def slow(asked: Asked) -> Iterable[bytes]:
        if "/instances" not in asked.target:
            go.wait(PATIENCE)
        return honest(asked)

    here = site(slow)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(here.infer) for _ in range(4)]
        eventually(lambda: len(here.asked) == 2 and here.app.service.admission.requests == 4)
        go.set()
        assert [len(answer_of(each.result())["sizes"]) for each in waiting] == [3] * 4
    assert here.asked.count(f"/studies/{UID}") == 1


def test_a_request_ends_at_its_deadline_and_the_fetch_with_it(site: Callable[..., Site]) -> None:
    over, honest = threading.Event(), archive(*STUDY)

    def slow(asked: Asked) -> Iterator[bytes]:
        pieces = b"".join(honest(asked))
        yield pieces[:-20]
        if "/instances" not in asked.target:
            over.wait(PATIENCE)
        yield pieces[-20:]

    here = site(slow)
    late = here.session.post(f"{LOCAL}/sizes", json=ORDER, headers={"X-Request-Timeout": "0.3"})
    assert problem(late) == (504, "deadline-exceeded")
    over.set()
    assert eventually(lambda: here.records)[0]["outcome"] == "cancelled"
    assert here.stored() == []


def test_a_run_fetches_in_its_attempt(site: Callable[..., Site]) -> None:
    here = site()
    refused = here.session.post(f"{LOCAL}/runs?route=/sizes", json=ORDER | {"from": "unknown"})
    assert problem(refused) == (422, "parameter-refused")
    submitted = here.session.post(f"{LOCAL}/runs?route=/sizes", json=ORDER)
    assert submitted.status_code in (201, 202), submitted.text
    run = submitted.json()["id"]

    def result() -> requests.Response | None:
        answer = here.session.get(f"{LOCAL}/runs/{run}/result")
        return None if answer.status_code == 409 else answer

    assert len(answer_of(eventually(result))["sizes"]) == 3
    assert here.stored()[0]["instances"] == 3
    here.app.close()


@pytest.mark.slow  # half a minute between two tries
def test_a_run_waits_for_its_peer_for_a_limited_time(site: Callable[..., Site]) -> None:
    here = site(lambda _: [], run_peer_wait=1.0)
    run = here.session.post(f"{LOCAL}/runs?route=/sizes", json=ORDER).json()["id"]
    ended = eventually(lambda: (words := here.session.get(f"{LOCAL}/runs/{run}").json())["ended"] and words)
    assert (ended["state"], ended["reason"]) == ("failed", "peer-failed")
    assert ended["attempts"] == 1
    assert len(here.asked) >= 2  # it has waited before
    here.app.close()


def test_a_wrong_file_of_peers_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "peers.toml").write_text("[peers.pacs]\n")
    app = Gateway(__name__, settings=Settings(peers=tmp_path / "peers.toml"))
    with pytest.raises(ValueError, match=r"peers\.pacs"):
        app.open()
