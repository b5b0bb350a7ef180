"""The routes of runs: what they answer, refuse, and show to whom. In this process, where waiting takes a thread."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from gateway import Gateway, Settings
from gateway.delivery.signatures import new_secret
from gateway.endpoints.runs import RULES
from gateway.observe.audit.receipts import HEADER, is_signed, read_receipt
from tests.apps import durable
from tests.delivery.receivers import receiving
from tests.server.test_access import Callers
from tests.server.test_faults import TYPE, body
from tests.waiting import eventually


def sent(json_input: object = None, *files: bytes) -> dict[str, Any]:
    """A request's body and its type, for the test client."""
    return {"data": body(json.dumps(json_input or {}).encode(), *files), "content_type": TYPE}


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    before, durable.NOTES = durable.NOTES, tmp_path_factory.mktemp("notes")
    yield durable.NOTES
    durable.NOTES = before


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, notes: Path) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("store")
    app = durable.make(Settings(store_folder=folder, audit_key_file=folder / "audit.key"))
    yield app
    app.close()


@pytest.fixture
def client(app: Gateway) -> FlaskClient:
    return app.test_client()


def ended(client: FlaskClient, id: str, **headers: str) -> dict[str, Any]:
    """The run once it has ended."""

    def look() -> dict[str, Any] | None:
        run: dict[str, Any] = client.get(f"/runs/{id}?wait=10", headers=headers).json
        return run if run["ended"] else None

    run = eventually(look)
    assert run is not None
    return run


def words(response: TestResponse) -> dict[str, Any]:
    """The JSON of a response."""
    found: dict[str, Any] = response.json
    return found


def problem(response: TestResponse) -> tuple[int, str]:
    assert response.content_type == "application/problem+json"
    return response.status_code, words(response)["type"].removeprefix("urn:gateway:problem:")


def parts(response: TestResponse) -> list[bytes]:
    """The parts of an answer, whatever its boundary."""
    boundary = response.content_type.partition("boundary=")[2].encode()
    return response.data.split(b"--" + boundary)


def test_a_run_is_made_once_and_has_the_answer_of_its_route(client: FlaskClient) -> None:
    request = sent({"a": 1}, b"abc", b"de")
    made = client.put("/runs/one?route=/quick", **request)
    assert (made.status_code, made.headers["Location"]) == (201, "/runs/one")
    assert made.json["links"] == {name: f"/runs/one/{name}" for name in ("events", "result", "input")} | {
        "self": "/runs/one"
    }
    run = ended(client, "one")
    assert (run["id"], run["route"], run["state"], run["attempts"]) == ("one", "/quick", "finished", 1)
    assert run["created"] <= run["started"] <= run["ended"]
    assert run["created"].endswith("Z")
    again = client.put("/runs/one?route=/quick", **request)
    assert (again.status_code, again.json) == (200, run)
    answer = client.get("/runs/one/result")
    assert client.get("/runs/one/result").data == answer.data
    assert parts(answer) == parts(client.post("/quick", **request))
    assert problem(client.put("/runs/one?route=/quick", **sent({"a": 2}))) == (409, "run-conflict")
    assert problem(client.put("/runs/one?route=/refuses", **request)) == (409, "run-conflict")


def test_a_result_names_the_model_that_made_it(client: FlaskClient) -> None:
    id = client.post("/runs?route=/versioned", **sent()).json["id"]
    ended(client, id)
    result, direct = client.get(f"/runs/{id}/result"), client.post("/versioned", **sent())
    for field in ("X-Model", "X-Model-Version"):
        assert result.headers[field] == direct.headers[field] != ""


def test_the_answer_of_a_run_has_the_receipt_of_its_route_where_it_is_wanted(app: Gateway, client: FlaskClient) -> None:
    request, prefer = sent({"a": 1}, b"abc"), {"Prefer": "receipt"}
    id = client.post("/runs?route=/quick", **request).json["id"]
    ended(client, id)
    assert HEADER not in client.get(f"/runs/{id}/result").headers
    result, direct = client.get(f"/runs/{id}/result", headers=prefer), client.post("/quick", **request, headers=prefer)
    assert (result.headers["Preference-Applied"], result.headers["Vary"]) == ("receipt", "Accept, Prefer")
    receipt, other = (read_receipt(answer.headers[HEADER]) for answer in (result, direct))
    assert app.service.key is not None
    assert is_signed(receipt, app.service.key)
    own = ("mac", "request", "time")
    assert receipt | dict.fromkeys(own) == other | dict.fromkeys(own)
    assert f"{receipt['input']}:{receipt['output']}".encode() in result.data
    waited = client.post("/quick", **request, headers={"Prefer": "respond-async, wait=50, receipt"})
    assert waited.headers["Preference-Applied"] == "respond-async, wait=50, receipt"
    assert read_receipt(waited.headers[HEADER])["output"] == receipt["output"]


def test_a_posted_run_gets_an_id(client: FlaskClient) -> None:
    made = client.post("/runs?route=/quick", **sent())
    assert made.status_code == 201
    assert made.headers["Location"] == made.json["links"]["self"] == f"/runs/{made.json['id']}"
    assert ended(client, made.json["id"])["state"] == "finished"


def test_a_run_shows_its_place_its_progress_and_its_end(client: FlaskClient, notes: Path) -> None:
    first = client.post("/runs?route=/single", **sent({"name": "first"})).json["id"]
    eventually(lambda: (client.get(f"/runs/{first}").json["progress"] or {}).get("total") == 3)
    second, third = (client.post("/runs?route=/single", **sent({"name": "first"})).json["id"] for _ in range(2))
    shown = client.get(f"/runs/{third}").json
    assert shown["state"] == "queued"
    assert shown["position"] == client.get(f"/runs/{second}").json["position"] + 1
    early = client.get(f"/runs/{first}/result")
    assert problem(early) == (409, "run-not-ready")
    assert int(early.headers["Retry-After"]) > 0
    (notes / "go first").touch()
    for id in (first, second, third):
        assert ended(client, id)["state"] == "finished"


def test_a_refused_and_a_failed_run_have_the_problem_of_their_route(client: FlaskClient) -> None:
    for route, state, status, code in (
        ("/refuses", "refused", 422, "study-refused"),
        ("/fails", "failed", 500, "model-failed"),
    ):
        id = client.post(f"/runs?route={route}", **sent({"name": "DOE"})).json["id"]
        run = ended(client, id)
        assert (run["state"], run["status"], run["reason"]) == (state, status, code)
        result, direct = client.get(f"/runs/{id}/result"), client.post(route, **sent({"name": "DOE"}))
        assert problem(result) == problem(direct) == (status, code)
        assert words(result) | {"request_id": ""} == words(direct) | {"request_id": ""}
        assert run["problem"] == result.json
        assert b"DOE" not in result.data


def test_a_live_run_is_cancelled_and_an_ended_one_forgotten(client: FlaskClient) -> None:
    id = client.post("/runs?route=/told", **sent({"name": "never"})).json["id"]
    eventually(lambda: client.get(f"/runs/{id}").json["state"] == "running")
    cancelled = client.delete(f"/runs/{id}")
    assert (cancelled.status_code, cancelled.json["id"]) == (202, id)
    assert ended(client, id)["state"] == "cancelled"
    assert problem(client.get(f"/runs/{id}/result")) == (409, "run-cancelled")
    assert client.delete(f"/runs/{id}").status_code == 204
    assert problem(client.get(f"/runs/{id}")) == (404, "run-not-found")
    assert problem(client.delete(f"/runs/{id}")) == (404, "run-not-found")


def test_a_question_is_shown_and_answered_once(client: FlaskClient) -> None:
    id = client.post("/runs?route=/asks", **sent()).json["id"]

    def asked(number: int) -> dict[str, Any]:
        question = words(client.get(f"/runs/{id}"))["question"] or {}
        return question if question.get("number") == number else {}

    first = eventually(lambda: asked(1))
    path = f"/runs/{id}/input"
    assert problem(client.post(f"{path}?question={first['sequence'] + 1}", json={"side": "?"})) == (
        409,
        "run-not-waiting",
    )
    assert problem(client.post(path, data="[]", content_type="application/json")) == (400, "broken-json")
    assert problem(client.post(path, data="{}", content_type="text/plain"))[0] == 415
    answered = client.post(f"{path}?question={first['sequence']}", json={"side": "left"})
    assert (answered.status_code, answered.json["question"]) == (202, None)
    second = eventually(lambda: asked(2))
    assert problem(client.post(f"{path}?question={first['sequence']}", json={})) == (409, "run-not-waiting")
    assert client.post(f"{path}?question={second['sequence']}", json={"side": "right"}).status_code == 202
    assert ended(client, id)["state"] == "finished"
    assert b'[{"side": "left"}, {"side": "right"}]' in client.get(f"/runs/{id}/result").data
    assert problem(client.post(path, json={})) == (409, "run-not-waiting")
    told = [kind for _, kind, _ in events(client.get(f"/runs/{id}/events").data)]
    assert told.count("question") == 2


def test_a_request_that_prefers_it_is_answered_with_a_run(client: FlaskClient, notes: Path) -> None:
    later = client.post("/told", **sent({"name": "later"}), headers={"Prefer": "respond-async"})
    assert later.status_code == 202
    assert later.headers["Preference-Applied"] == "respond-async"
    assert later.headers["Vary"] == "Prefer"
    assert later.headers["Location"] == f"/runs/{later.json['id']}"
    short = client.post("/told", **sent({"name": "later"}), headers={"Prefer": 'receipt, Respond-Async; x=1, wait="1"'})
    assert short.status_code == 202
    assert short.headers["Preference-Applied"] == "respond-async, wait=1"
    (notes / "go later").touch()
    for each in (later, short):
        assert ended(client, each.json["id"])["state"] == "finished"


def test_a_run_that_is_done_in_time_is_answered_directly(client: FlaskClient) -> None:
    prefer = {"Prefer": "respond-async, wait=50"}
    answer = client.post("/quick", **sent({"a": 1}, b"abc"), headers=prefer)
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "respond-async, wait=50"
    assert parts(answer) == parts(client.post("/quick", **sent({"a": 1}, b"abc")))
    assert client.get(f"{answer.headers['Content-Location']}/result").data != b""
    refused = client.post("/refuses", **sent(), headers=prefer)
    assert problem(refused) == (422, "study-refused")


def test_each_response_of_a_route_with_runs_varies_by_the_preference(client: FlaskClient) -> None:
    for route in ("/quick", "/refuses"):
        for headers in ({}, {"Prefer": "wait=1"}, {"Prefer": "respond-async"}, {"Prefer": "respond-async, wait=50"}):
            answer = client.post(route, **sent(), headers=headers)
            assert "Prefer" in answer.vary, (route, headers)
    assert "Prefer" not in durable.make(Settings()).test_client().post("/quick", **sent()).vary


@pytest.mark.parametrize(
    "prefer", ["wait=5", "respond-asynchronously", "return=minimal", ",;=", "respond async", 'a="b, respond-async"']
)
def test_another_preference_is_ignored(client: FlaskClient, prefer: str) -> None:
    assert client.post("/quick", **sent(), headers={"Prefer": prefer}).status_code == 200


def test_without_a_store_there_are_no_runs_and_the_preference_is_ignored() -> None:
    client = durable.make(Settings()).test_client()
    assert client.post("/quick", **sent(), headers={"Prefer": "respond-async"}).status_code == 200
    assert client.put("/runs/one?route=/quick", **sent()).status_code == 404


def events(data: bytes) -> list[tuple[int, str, dict[str, Any]]]:
    """Number, name and data of each event."""
    blocks = [block.split("\n") for block in data.decode().split("\n\n") if block.startswith("id: ")]
    names = ("id: ", "event: ", "data: ")
    fields = [[line.removeprefix(name) for line, name in zip(block, names, strict=True)] for block in blocks]
    return [(int(number), kind, json.loads(text)) for number, kind, text in fields]


def test_events_are_told_in_order_and_again_from_any_number(client: FlaskClient, notes: Path) -> None:
    (notes / "go watched").touch()
    id = client.post("/runs?route=/told", **sent({"name": "watched"})).json["id"]
    stream = client.get(f"/runs/{id}/events")
    assert (stream.status_code, stream.content_type) == (200, "text/event-stream")
    told = events(stream.data)
    numbers = [number for number, _, _ in told]
    assert numbers == sorted(set(numbers))
    assert [data["state"] for _, kind, data in told if kind == "state"] == ["queued", "running", "finished"]
    assert ("log", "a line of watched") in [(kind, data.get("text")) for _, kind, data in told]
    assert all(data["time"].endswith("Z") for _, _, data in told)
    for place in (numbers[0], numbers[-2]):
        rest = client.get(f"/runs/{id}/events", headers={"Last-Event-ID": str(place)})
        assert events(rest.data) == [event for event in told if event[0] > place]
        assert events(client.get(f"/runs/{id}/events?after={place}").data) == events(rest.data)
    last = client.get(f"/runs/{id}/events", headers={"Last-Event-ID": str(numbers[-1])})
    assert (last.status_code, last.data) == (204, b"")


def test_the_last_event_of_a_refused_run_has_its_problem(client: FlaskClient) -> None:
    id = client.post("/runs?route=/refuses", **sent()).json["id"]
    *_, (_, kind, data) = events(client.get(f"/runs/{id}/events").data)
    assert (kind, data["state"], data["problem"]["status"]) == ("state", "refused", 422)


def test_a_poll_that_knows_the_present_state_waits_and_one_that_does_not_is_answered(client: FlaskClient) -> None:
    id = client.post("/runs?route=/quick", **sent()).json["id"]
    run = ended(client, id)
    for query in ("", "?wait=50", f"?wait=50&after={run['sequence']}", "?wait=50&after=0"):
        assert client.get(f"/runs/{id}{query}").json == run  # an ended run is not waited for


def test_runs_are_listed_by_state_route_and_time_in_pages(app: Gateway, client: FlaskClient) -> None:
    ids = [client.post("/runs?route=/counted", **sent({"name": "x"})).json["id"] for _ in range(5)]
    for id in ids:
        ended(client, id)
    listed = client.get("/runs?route=/counted").json
    assert [run["id"] for run in listed["runs"]] == ids[::-1]
    assert listed["next"] is None
    pages, after = [], ""
    while after is not None:
        one = client.get(f"/runs?route=/counted&limit=2&after={after}").json
        pages.append([run["id"] for run in one["runs"]])
        after = one["next"]
    assert pages == [ids[4:2:-1], ids[2:0:-1], ids[:1]]
    assert client.get("/runs?route=/counted&state=failed").json["runs"] == []
    created = client.get(f"/runs/{ids[3]}").json["created"]
    since = client.get("/runs", query_string={"route": "/counted", "since": created}).json["runs"]
    assert {run["id"] for run in since} >= {ids[4]}
    assert ids[0] not in {run["id"] for run in since} or created == client.get(f"/runs/{ids[0]}").json["created"]


BAD: list[tuple[str, str, int, str]] = [
    ("PUT", "/runs/no%20space?route=/quick", 422, "run-id-refused"),
    ("PUT", f"/runs/{'x' * 65}?route=/quick", 422, "run-id-refused"),
    ("PUT", "/runs/new", 422, "parameter-refused"),
    ("PUT", "/runs/new?route=/unknown", 422, "parameter-refused"),
    ("POST", "/runs?route=quick", 422, "parameter-refused"),
    ("GET", "/runs?state=done", 422, "parameter-refused"),
    ("GET", "/runs?since=yesterday", 422, "parameter-refused"),
    ("GET", "/runs?limit=0", 422, "parameter-refused"),
    ("GET", "/runs/known?wait=soon", 422, "parameter-refused"),
    ("GET", "/runs/known?wait=-1", 422, "parameter-refused"),
    ("GET", "/runs/known/events?after=x", 422, "parameter-refused"),
    ("DELETE", "/runs/known?only=both", 422, "parameter-refused"),
    ("GET", "/runs/unknown", 404, "run-not-found"),
    ("GET", "/runs/unknown/events", 404, "run-not-found"),
    ("GET", "/runs/unknown/result", 404, "run-not-found"),
    ("POST", "/runs/unknown/input", 404, "run-not-found"),
    ("DELETE", "/runs/unknown", 404, "run-not-found"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), BAD)
def test_a_misuse_is_refused_in_words_and_as_described(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    client.put("/runs/known?route=/quick", **sent())
    more = sent() if method in ("PUT", "POST") else {}
    answer = client.open(path, method=method, **more)
    assert problem(answer) == (status, code)
    assert answer.json["detail"]
    place = re.sub("^/runs/[^/?]+", "/runs/{id}", path.partition("?")[0])
    responses = client.get("/openapi.json").json["paths"][place][method.lower()]["responses"]
    assert code in responses[str(status)]["description"]


def test_the_headers_and_parameters_of_runs_are_described(client: FlaskClient) -> None:
    paths = client.get("/openapi.json").json["paths"]
    expected = {
        ("post", "/quick"): {"Prefer", "Webhook", "X-Request-Timeout", "parameters"},
        ("post", "/runs"): {"route", "Webhook", "X-Request-Timeout"},
        ("put", "/runs/{id}"): {"id", "route", "Webhook", "X-Request-Timeout"},
        ("get", "/runs/{id}"): {"id", "wait", "after", "Last-Event-ID"},
        ("get", "/runs/{id}/events"): {"id", "after", "Last-Event-ID"},
        ("get", "/runs/{id}/result"): {"id", "Prefer", "output"},
        ("delete", "/runs/{id}"): {"id", "only"},
    }
    for (method, path), names in expected.items():
        assert {each["name"] for each in paths[path][method]["parameters"]} == names


def test_a_body_that_the_route_refuses_makes_no_run(client: FlaskClient) -> None:
    broken = {"data": b"--b\r\n", "content_type": "multipart/related; boundary=b"}
    assert problem(client.put("/runs/broken?route=/quick", **broken)) == (400, "broken-body")
    assert problem(client.put("/runs/broken?route=/quick", data="x", content_type="text/plain"))[0] == 415
    assert problem(client.post("/quick", **broken, headers={"Prefer": "respond-async"})) == (400, "broken-body")
    assert problem(client.get("/runs/broken")) == (404, "run-not-found")


def test_a_run_shows_what_has_become_of_its_webhook(tmp_path: Path, notes: Path) -> None:
    with receiving() as receiver:
        secrets, origin = tmp_path / "secrets", receiver.origin
        secrets.write_text(f"{origin} {new_secret()}\n")
        secrets.chmod(0o600)
        settings = Settings(store_folder=tmp_path / "store", webhook_origins=origin, webhook_secrets_file=secrets)
        app = durable.make(settings)
        client, headers = app.test_client(), {"Webhook": f"{origin}/ends"}
        made = client.put("/runs/hook?route=/told", **sent({"name": "hook"}), headers=headers)
        assert made.json["webhook"] == {"state": "pending", "tries": 0, "outcome": ""}
        (notes / "go hook").touch()
        eventually(lambda: client.get("/runs/hook").json["webhook"]["state"] == "delivered")
        assert client.get("/runs/hook").json["webhook"]["tries"] == 1
        assert client.put("/runs/none?route=/quick", **sent()).json["webhook"] is None
        app.close()


def test_a_rule_of_the_service_for_the_same_path_wins(tmp_path: Path) -> None:
    app = durable.make(Settings(store_folder=tmp_path))
    app.add_url_rule("/runs/<id>", "own", lambda id: f"own {id}", methods=["GET", "PUT"])
    assert app.test_client().put("/runs/x?route=/quick", **sent()).data == b"own x"
    assert app.test_client().get("/runs").status_code == 200
    app.close()


Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, notes: Path) -> Iterator[Ask]:
    """Send a request as one of several callers; return status and JSON."""
    callers = Callers(tmp_path_factory.mktemp("callers") / "callers.json")
    keys = {
        "alice": callers.add("alice", "infer", "read", "delete"),
        "bob": callers.add("bob", "infer", "read", "delete"),
        "sender": callers.add("sender", "infer"),
        "narrow": callers.add("narrow", "infer", "read", routes=("/refuses",)),
        "reader": callers.add("reader", "read"),
    }
    app = durable.make(Settings(store_folder=tmp_path_factory.mktemp("store"), api_keys_file=callers.path))

    def ask(caller: str, method: str, path: str, **more: Any) -> tuple[int, Any]:
        headers = {"X-API-Key": keys[caller]} if caller else {}
        response = app.test_client().open(path, method=method, headers=headers, **more)
        return response.status_code, response.get_json(silent=True)

    yield ask
    app.close()


def test_a_caller_sees_its_own_runs_alone(guarded: Ask) -> None:
    request = sent({"a": 1})
    assert guarded("alice", "PUT", "/runs/own?route=/quick", **request)[0] == 201
    assert guarded("bob", "PUT", "/runs/own?route=/counted", **sent({"name": "x"}))[0] == 201  # ids are each caller's
    assert guarded("alice", "PUT", "/runs/hers?route=/quick", **request)[0] == 201
    for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/result"), ("DELETE", "")):
        status, found = guarded("bob", method, f"/runs/hers{path}")
        assert status == 404
        assert found["type"] == "urn:gateway:problem:run-not-found"
    _, listed = guarded("bob", "GET", "/runs")
    assert [run["route"] for run in listed["runs"]] == ["/counted"]
    assert guarded("", "GET", "/runs")[0] == 401


def test_roles_are_those_of_requests(guarded: Ask) -> None:
    assert guarded("sender", "PUT", "/runs/x?route=/quick", **sent())[0] == 201
    for path in ("", "/x", "/x/events", "/x/result"):
        assert guarded("sender", "GET", f"/runs{path}")[0] == 403
    assert guarded("reader", "POST", "/runs?route=/quick", **sent())[0] == 403
    assert guarded("narrow", "POST", "/runs?route=/quick", **sent())[0] == 403
    assert guarded("narrow", "POST", "/runs?route=/refuses", **sent())[0] == 201
    eventually(lambda: guarded("narrow", "GET", "/runs?state=refused")[1]["runs"])
    (run,) = guarded("narrow", "GET", "/runs")[1]["runs"]
    assert guarded("narrow", "DELETE", f"/runs/{run['id']}")[0] == 403


def test_every_route_is_described_and_a_run_fits_its_description(client: FlaskClient) -> None:
    api = words(client.get("/openapi.json"))
    validate(api)
    paths = {path.replace("{", "<").replace("}", ">"): methods for path, methods in api["paths"].items()}
    assert [(method, path) for method, path, _ in RULES if method.lower() not in paths.get(path, {})] == []
    assert "202" in api["paths"]["/quick"]["post"]["responses"]
    client.put("/runs/described?route=/refuses", **sent())
    run = Draft202012Validator({"$ref": "#/components/schemas/Run", **api})
    run.validate(ended(client, "described"))
    run.validate(client.put("/runs/described-2?route=/quick", **sent()).json)
    for each in client.get("/runs").json["runs"]:
        run.validate(each)
