"""nnInteractive's remote sessions in this process: leases, prompts, what is refused, and hostile requests."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from openapi_spec_validator import validate

from gateway import Ask, Gateway, Interactive, Mask, Settings, Volume
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.errors import GatewayError
from gateway.protocol import questions
from gateway.protocol.nninteractive.packed_arrays import pack
from tests.apps import clicking
from tests.endpoints.nninteractive_lease import Lease, Reply, Send
from tests.waiting import eventually

Connect = Callable[..., Lease]
SHAPE = (4, 10, 12)


def sender(app: Gateway, **always: str) -> Send:
    """Return how to send a request to a service in this process."""

    def send(method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        answer = app.test_client().open(path, method=method, data=body, headers=always | headers)
        return Reply(answer.status_code, answer.headers, answer.data)

    return send


@pytest.fixture
def open_app() -> Iterator[Callable[..., Gateway]]:
    """Make a service whose clients click on a route; it is closed after the test."""
    apps: list[Gateway] = []

    def open_(route: str = "/paint", **settings: Any) -> Gateway:
        app = Gateway(__name__, settings=Settings(**{"nninteractive": route} | settings))
        clicking.add_models(app, *clicking.MODELS)
        apps.append(app)
        return app

    yield open_
    for app in apps:
        app.close()


@pytest.fixture
def connect(open_app: Callable[..., Gateway]) -> Connect:
    """Connect to a service with an image set."""

    def connected(route: str = "/paint", **settings: Any) -> Lease:
        lease = Lease(sender(open_app(route, **settings)))
        assert lease.set_image().status == 200
        return lease

    return connected


def test_points_change_the_buffer_and_undo_takes_them_back(connect: Connect) -> None:
    lease = connect()
    lease.point(1, 2, 3)
    lease.point(2, 4, 5)
    assert lease.marked == [(1, 2, 3), (2, 4, 5)]
    lease.point(1, 2, 3, positive=False)
    assert lease.marked == [(2, 4, 5)]
    assert lease.undo()
    assert lease.undo()
    assert lease.marked == [(1, 2, 3)]
    assert lease.undo()
    assert lease.marked == []
    assert not lease.undo()


def test_queued_prompts_are_run_together_and_taken_back_one_by_one(connect: Connect) -> None:
    lease = connect()
    for column in range(3):
        reply = lease.point(0, 0, column, run=False)
        assert json.loads(reply.headers["X-Meta"]) == {"ran_prediction": False, "bbox": None}
    assert lease.undo()
    assert lease.marked == []
    lease.applied(lease.ask("/predict", {"force_full_refine": False}))
    assert lease.marked == [(0, 0, 0), (0, 0, 1)]
    assert lease.undo()
    assert lease.marked == []
    lease.applied(lease.ask("/predict", {}))
    assert lease.marked == [(0, 0, 0)]
    assert json.loads(lease.ask("/predict", {}).headers["X-Meta"])["ran_prediction"] is False


def test_no_more_prompts_are_queued_than_a_session_takes(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MAX_CLICKS", 3)
    lease = connect()
    for column in range(3):
        assert lease.point(0, 0, column, run=False).status == 200
    assert lease.point(0, 0, 3, run=False).code == (422, "parameter-refused")
    lease.applied(lease.ask("/predict", {}))
    assert len(lease.marked) == 3


def test_a_lost_response_is_made_up_for_by_the_next_one(connect: Connect) -> None:
    lease = connect()
    lease.point(0, 0, 0)
    lease.ask("/add_point_interaction", {"coordinates": [3, 9, 11], "include_interaction": True})
    lease.point(2, 2, 2)
    assert lease.marked == [(0, 0, 0), (2, 2, 2), (3, 9, 11)]


def test_after_a_reset_and_with_another_buffer_the_client_is_right(connect: Connect) -> None:
    lease = connect()
    lease.point(1, 1, 1)
    assert lease.reset().json == {}
    lease.point(2, 2, 2)
    assert lease.marked == [(2, 2, 2)]
    assert lease.set_buffer(SHAPE, "int16").status == 200
    lease.point(3, 3, 3)
    assert lease.marked == [(2, 2, 2), (3, 3, 3)]
    assert lease.set_buffer(SHAPE, "bool").status == 200
    lease.point(0, 0, 0)
    assert lease.marked == [(0, 0, 0), (2, 2, 2), (3, 3, 3)]


def test_boxes_scribbles_and_lassos_reach_the_model(connect: Connect) -> None:
    lease = connect("/region-growing", nninteractive_modality="CT")
    middle = np.zeros(SHAPE, bool)
    middle[1:-1, 2:-2, 2:-2] = True
    assert lease.mark("scribble", np.ones((1, 1, 5), np.uint8), [[1, 2], [5, 6], [4, 9]]).status == 200
    assert np.array_equal(lease.buffer, middle)
    lease.reset()
    words = {"bbox_coords": [[1, 3], [3, 6], [3, 7]], "include_interaction": True}
    lease.applied(lease.ask("/add_bbox_interaction", words))
    assert np.array_equal(np.unique(np.argwhere(lease.buffer)[:, 1]), [3, 4, 5])
    lease.reset()
    outline = np.pad(np.zeros((1, 2, 2), np.uint8), ((0, 0), (1, 1), (1, 1)), constant_values=1)
    assert lease.mark("lasso", outline, [[1, 2], [3, 7], [3, 7]]).status == 200
    assert lease.marked == [tuple(place) for place in np.argwhere(np.ones((1, 4, 4))) + (1, 3, 3)]


def test_another_image_ends_the_session_of_the_first(open_app: Callable[..., Gateway]) -> None:
    app = open_app()
    lease = Lease(sender(app))
    lease.set_image()
    lease.point(1, 1, 1)
    assert lease.set_image((3, 6, 7)).json == {"original_image_shape": [1, 3, 6, 7]}
    lease.point(2, 2, 2)
    assert lease.marked == [(2, 2, 2)]
    assert app.sessions is not None
    assert app.sessions.count == 1
    assert lease.ask("/release").json == {"released": True}
    assert app.sessions.count == 0
    assert lease.ask("/release").json == {"released": True}


def test_a_released_lease_is_gone(connect: Connect) -> None:
    lease = connect()
    lease.ask("/release")
    for path in ("/heartbeat", "/undo", "/reset_interactions", "/predict"):
        assert lease.ask(path, {}).code == (410, "lease-expired")
    assert lease.ask("/lease_status", method="GET").code == (410, "lease-expired")
    assert lease.point(1, 1, 1).code == (410, "lease-expired")
    assert lease.set_image().code == (410, "lease-expired")


def test_a_silent_or_idle_client_loses_its_lease(open_app: Callable[..., Gateway]) -> None:
    app = open_app()
    app.open()
    assert app.leases is not None
    assert app.sessions is not None
    clock = SimpleNamespace(now=0.0)
    app.leases.clock = lambda: clock.now
    silent, beating = Lease(sender(app)), Lease(sender(app))
    silent.set_image()
    for clock.now in (40.0, 80.0):
        beaten = beating.ask("/heartbeat", {}).json
        assert beaten == {"remaining_seconds": 600 - clock.now}  # it is no action
        assert beating.ask("/lease_status", method="GET").json == beaten | {"idle_timeout_seconds": 600}
    assert silent.point(1, 1, 1).code == (410, "lease-expired")
    sessions = app.sessions
    eventually(lambda: sessions.count == 0)
    for clock.now in range(100, 600, 50):
        assert beating.ask("/heartbeat", {}).status == 200
    clock.now = 601.0
    assert beating.ask("/heartbeat", {}).code == (410, "lease-expired")


def test_leases_still_end_after_a_session_that_could_not_be_ended(
    open_app: Callable[..., Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_app(sessions=1)
    app.open()
    assert app.leases is not None
    assert app.sessions is not None
    clock = SimpleNamespace(now=0.0)
    app.leases.clock = lambda: clock.now
    send = sender(app)
    lease = Lease(send)
    assert lease.set_image().status == 200

    def failed(*_words: object) -> None:
        raise GatewayError("The gateway failed; its log has the reason.")  # as another worker answers

    monkeypatch.setattr(app.sessions, "call", failed)
    for clock.now in (100.0, 200.0):
        eventually(lambda: Lease(send, claim=False).ask("/claim").status == 200)
    monkeypatch.undo()


def test_leases_are_bounded_for_a_caller_and_a_worker(open_app: Callable[..., Gateway]) -> None:
    send = sender(open_app(sessions=3, session_caller_max=2))
    leases = [Lease(send), Lease(send)]
    refused = Lease(send, claim=False).ask("/claim")
    assert refused.code == (503, "unavailable")
    assert refused.headers["Retry-After"] == "10"
    leases[0].ask("/release")
    assert Lease(send).token


def test_two_requests_of_one_lease_are_taken_one_after_another(connect: Connect) -> None:
    lease = connect()
    threads = [threading.Thread(target=lease.ask, args=["/add_point_interaction", words]) for words in (
        {"coordinates": [0, 0, column], "include_interaction": True} for column in range(6)
    )]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lease.set_buffer(SHAPE)
    lease.point(3, 3, 3)
    assert len(lease.marked) == 7


def test_without_an_image_prompts_are_refused(open_app: Callable[..., Gateway]) -> None:
    lease = Lease(sender(open_app()))
    assert lease.point(1, 1, 1).code == (409, "session-conflict")
    assert lease.set_buffer(SHAPE).code == (409, "session-conflict")
    assert lease.ask("/set_do_autozoom", {"do_autozoom": True}).json == {}


def test_a_refused_segmentation_leaves_the_buffer_with_the_next_prompt(connect: Connect) -> None:
    lease = connect()
    lease.point(1, 1, 1)
    lease.buffer[:] = 1  # as the client does before it sends it
    refused = lease.ask("/add_initial_seg_interaction", {}, array=lease.buffer)
    assert refused.code == (422, "parameter-refused")
    lease.point(2, 2, 2)
    assert lease.marked == [(1, 1, 1), (2, 2, 2)]


def test_what_does_not_fit_is_refused_and_changes_nothing(connect: Connect) -> None:
    lease = connect()
    lease.point(1, 1, 1)
    refused = (422, "parameter-refused")
    assert lease.point(4, 0, 0).code == refused
    assert lease.ask("/add_bbox_interaction", {"bbox_coords": 3, "include_interaction": True}).code == refused
    assert lease.mark("scribble", np.zeros((1, 2, 2), np.uint8), [[0, 1], [0, 2], [0, 2]]).code == refused
    assert lease.ask("/set_target_buffer", {"shape": [4, 10, 12], "dtype": "object"}).code == refused
    assert lease.ask("/set_target_buffer", {"shape": [1, 1], "dtype": "uint8"}).code == (409, "session-conflict")
    lease.point(2, 2, 2)
    assert lease.marked == [(1, 1, 1), (2, 2, 2)]


IMAGES: dict[str, tuple[Any, Any, tuple[int, str]]] = {
    "three axes": (np.zeros((4, 5, 6), np.float32), {}, (422, "parameter-refused")),
    "two channels": (np.zeros((2, 4, 5, 6), np.float32), {}, (422, "parameter-refused")),
    "no spacing": (np.zeros((1, 4, 5, 6), np.float32), {}, (422, "study-refused")),
    "a spacing of 0": (np.zeros((1, 4, 5, 6), np.uint8), {"spacing": [0, 1, 1]}, (422, "parameter-refused")),
    "two spacings": (np.zeros((1, 4, 5, 6), np.uint8), {"spacing": [1, 1]}, (422, "parameter-refused")),
    "another modality": (np.zeros((1, 4, 5, 6), np.uint8), {"modality": "MR"}, (422, "study-refused")),
    "properties of text": (np.zeros((1, 4, 5, 6), np.uint8), "CT", (422, "parameter-refused")),
    "a broken array": (pack(np.zeros((1, 4, 5, 6), np.uint8))[:-3], {}, (400, "broken-body")),
    "more than an array": (pack(np.zeros((1, 4, 5, 6), np.uint8)) + b"x", {}, (400, "broken-body")),
    "a bomb": (b"NNIA\1\1\4\5uint8" + b"\0\1\0\0\0\0\0\0" * 4 + b"\1\0\0\0", {}, (413, "limit-exceeded")),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_cannot_be_taken_is_refused_and_leaves_no_session(
    name: str, open_app: Callable[..., Gateway]
) -> None:
    array, properties, refusal = IMAGES[name]
    app = open_app("/region-growing", nninteractive_modality="CT")
    lease = Lease(sender(app))
    assert lease.ask("/set_image", {"image_properties": properties}, array=array).code == refusal
    assert app.sessions is not None
    assert app.sessions.count == 0
    assert lease.set_image().status == 200


def test_a_missing_modality_is_refused_with_what_states_it(open_app: Callable[..., Gateway]) -> None:
    lease = Lease(sender(open_app("/region-growing")))
    refused = lease.set_image()
    assert refused.code == (422, "study-refused")
    assert "GATEWAY_NNINTERACTIVE_MODALITY" in refused.json["detail"]
    assert lease.set_image(modality="CT").status == 200


def test_a_model_that_asks_no_clicks_is_refused(open_app: Callable[..., Gateway]) -> None:
    lease = Lease(sender(open_app("/organs")))
    assert lease.set_image().code == (409, "session-conflict")


def test_hostile_heads_are_refused(connect: Connect) -> None:
    lease = connect()
    mask = np.ones((1, 1, 1), np.uint8)
    for meta in ("{", "[]", '"x"', "{\xff"):
        assert lease.ask("/add_scribble_interaction", {}, array=mask, **{"X-Meta": meta}).status == 400
    other = lease.ask("/add_scribble_interaction", {}, array=mask, **{"Content-Type": "text/plain"})
    assert other.code == (415, "unsupported-media-type")
    for token in ("", "0", "é" * 40, "\0" * 40, "../" * 20, "f" * 64, "F" * 32, "a" * 10_000):
        assert lease.ask("/heartbeat", {}, **{"X-Lease-Token": token}).code == (410, "lease-expired")


def test_a_model_that_raises_ends_its_session_and_not_the_lease(open_app: Callable[..., Gateway]) -> None:
    app = open_app("/raising")

    @app.model("/raising", version="1")
    def raising(volume: Volume) -> Interactive[Mask]:
        """Fail at the first click."""
        yield Ask("Click.", kind="clicks")
        raise RuntimeError("DOE^JANE")

    lease = Lease(sender(app))
    lease.set_image()
    refused = lease.point(1, 1, 1)
    assert refused.code == (500, "model-failed")
    assert b"DOE" not in refused.body
    assert lease.set_image().status == 200


def test_a_lease_is_its_callers_own(open_app: Callable[..., Gateway], tmp_path: Path) -> None:
    keys, path = {name: new_key() for name in ("ann", "bob", "eve")}, tmp_path / "callers.json"
    routes = {"ann": ("/paint",), "bob": ("*",), "eve": ("/other",)}
    roles = frozenset(["infer"])
    change(path, lambda _: [CallerEntry(Caller(n, roles, routes[n]), fingerprint(key)) for n, key in keys.items()])
    app = open_app(api_keys_file=path)
    sends = {name: sender(app, Authorization=f"Bearer {key}") for name, key in keys.items()}
    ann, bob = Lease(sends["ann"]), Lease(sends["bob"], claim=False)
    ann.set_image()
    bob.token = ann.token
    assert bob.point(1, 1, 1).code == (410, "lease-expired")
    bob.ask("/release")
    assert ann.point(1, 1, 1).status == 200
    assert Lease(sends["eve"], claim=False).ask("/claim").code == (403, "forbidden")
    assert Lease(sender(app), claim=False).ask("/claim").code == (401, "unauthenticated")


def test_the_description_has_each_route(open_app: Callable[..., Gateway]) -> None:
    app = open_app()
    described = app.test_client().get("/openapi.json").get_json()
    validate(described)
    paths = {path: set(found) for path, found in described["paths"].items() if path.startswith("/nninteractive")}
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/nninteractive")]
    served = {rule.rule: {method.lower() for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}} for rule in rules}
    assert paths == served


@pytest.mark.parametrize("settings", [{"route": "/none"}, {"route": "/still"}, {"sessions": 0}])
def test_a_setting_that_names_no_such_model_is_refused_at_the_start(
    settings: dict[str, Any], open_app: Callable[..., Gateway]
) -> None:
    with pytest.raises(ValueError, match="GATEWAY_NNINTERACTIVE"):
        open_app(**settings).open()


def test_without_the_setting_there_are_no_routes(open_app: Callable[..., Gateway]) -> None:
    assert open_app("").test_client().get("/nninteractive/capabilities").status_code == 404


def test_an_image_is_one_request_of_this_door_in_audit_and_metrics(
    open_app: Callable[..., Gateway], tmp_path: Path
) -> None:
    app = open_app(audit_file=tmp_path / "audit.jsonl")

    def counted() -> float:
        line = 'gateway_requests_total{door="nninteractive",route="/paint",status="499"} '
        return sum(
            float(value) for value in re.findall(re.escape(line) + "(.*)", app.test_client().get("/metrics").text)
        )

    before = counted()
    lease = Lease(sender(app))
    lease.set_image()
    lease.point(1, 1, 1)
    lease.ask("/release")
    record = eventually((tmp_path / "audit.jsonl").read_text)
    assert '"door":"nninteractive"' in record.replace(" ", "")
    assert lease.token not in record
    eventually(lambda: counted() == before + 1)
