"""Streaming wrappers: answers leave as they are made, and a session ends however its request does."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway import Client, Gateway
from gateway.adapters import aiges
from gateway.adapters.aiges import sessions, streaming
from gateway.adapters.aiges.data import DataListCls, DataListNode
from gateway.adapters.aiges.wrapper_answers import VerbFailed
from gateway.client import AnswerCorrupt
from gateway.errors import AnswerInvalid
from gateway.protocol.response import reporter
from gateway.wire import Data, Decoder, Part, parse_options_header
from tests.adapters.messages import KIND, body, hashes_hold, parts_of
from tests.conftest import Serve, Server
from tests.waiting import PATIENCE, eventually


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The gate of the answers: a numbered file opens it for one, and ``all``, there at first, for every one."""
    (tmp_path / "all").touch()
    return tmp_path


@pytest.fixture
def own(serve: Serve, gate: Path) -> Server:
    """A server of one's own: the wrapper has places for two sessions only."""
    return serve("tests.adapters.service:app", STREAM_GATE=str(gate))


def stream(server: Server, **params: Any) -> requests.Response:
    data = body(params, (None, b"w"))
    return requests.post(
        server.url + "/stream", data=data, headers={"Content-Type": KIND}, stream=True, timeout=PATIENCE
    )


def arrivals(response: requests.Response) -> Iterator[bytes]:
    """Yield each element's data as it arrives."""
    decoder = Decoder(parse_options_header(response.headers["Content-Type"])[1]["boundary"])
    inside = False
    for piece in response.raw.stream():
        for event in decoder.receive(piece):
            if isinstance(event, Part):
                inside = "elem_" in event.headers.get("Content-Disposition", "")
            elif isinstance(event, Data) and inside:
                yield bytes(event.data)


def test_twenty_answers_arrive_as_they_are_made(own: Server, gate: Path) -> None:
    (gate / "all").unlink()
    (gate / "0").touch()
    came = arrivals(stream(own, count=20, pause=0))
    for number in range(20):
        assert next(came) == b"w %d" % number  # and the next one is not made yet
        (gate / str(number + 1)).touch()
    assert list(came) == []


def test_a_streamed_answer_pairs_each_json_with_its_piece_and_ends_with_hashes(own: Server) -> None:
    response = stream(own, count="3")
    parts = parts_of(response.headers["Content-Type"], response.content)
    assert response.headers["Transfer-Encoding"] == "chunked"
    names = [part.name for part in parts]
    assert names == ["json-body", "elem_0", "json-body", "elem_1", "json-body", "elem_2", "hashes"]
    assert [json.loads(part.data)["aiges"][0]["status"] for part in parts[:-1:2]] == [1, 1, 2]
    assert [part.data for part in parts[1:-1:2]] == [b"w 0", b"w 1", b"w 2"]
    assert hashes_hold(parts, b'{"count": "3"}', b"w")


def test_our_client_reads_a_streamed_answer_whole(own: Server) -> None:
    with Client(own.url) as client:
        answer = client.ask({"count": 4}, [b"w"], "/stream")
    assert [entry["status"] for entry in answer.parts] == [1, 1, 1, 2]
    assert [bytes(buffer) for buffer in answer.buffers] == [b"w 0", b"w 1", b"w 2", b"w 3"]


def test_a_thread_that_dies_before_its_first_answer_is_a_problem_and_the_next_request_is_served(own: Server) -> None:
    for _ in range(3):  # more than the wrapper has places
        assert stream(own, count=3, fault=1).json()["type"] == "urn:gateway:problem:model-failed"
    assert stream(own, count=2).status_code == 200
    assert "a secret of the model" not in own.log


def test_a_stream_that_breaks_off_ends_with_the_problem_and_without_hashes(own: Server) -> None:
    response = stream(own, count=3, fault=2)
    parts = parts_of(response.headers["Content-Type"], response.content)
    assert [part.name for part in parts] == ["json-body", "elem_0", "problem"]
    assert json.loads(parts[-1].data)["request_id"] == response.headers["X-Request-ID"]
    with Client(own.url) as client, pytest.raises(AnswerCorrupt, match="broke off: The wrapper raised"):
        client.ask({"count": 3, "fault": 2}, [b"w"], "/stream")


def test_a_session_that_cannot_be_created_is_a_problem_with_its_code(own: Server, gate: Path) -> None:
    (gate / "all").unlink()
    (gate / "0").touch()
    busy = [stream(own, count=20, pause=0) for _ in range(2)]
    problem = stream(own, count=1).json()
    (gate / "all").touch()
    assert (problem["error_code"], problem["detail"]) == (10, "wrapperCreate failed. every place is taken")
    assert all(len(parts_of(r.headers["Content-Type"], r.content)) == 41 for r in busy)


def test_a_client_that_leaves_frees_its_place_once_the_wrapper_is_done(own: Server) -> None:
    data = body({"count": 10, "pause": 50}, (None, b"w"))
    head = f"POST /stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: {KIND}\r\nContent-Length: {len(data)}\r\n\r\n"
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", own.port)) as client:
            client.sendall(head.encode() + data)
            assert b"200 OK" in client.recv(100)

    def served() -> requests.Response | None:
        response = stream(own, count=1)
        return response if response.status_code == 200 else None

    response = eventually(served)
    assert response is not None
    assert parts_of(response.headers["Content-Type"], response.content)[1].data == b"w 0"


SILENT = """
from aiges.sdk import *
class Fields:
    text = StringBodyField(key="text")
class Wrapper(WrapperBase):
    requestCls = responseCls = Fields()
    def wrapperInit(self, config): return 0
    def wrapperOnceExec(self, params, reqData): ...
    def wrapperFini(self): return 0
    def wrapperCreate(self, params, sid): return SessionCreateResponse()
    def wrapperWrite(self, handle, req, sid): return 0
"""


def test_a_wrapper_that_never_answers_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SILENCE", 0.2)
    (tmp_path / "silent.py").write_text(SILENT)
    app = Gateway(__name__)
    app.add_wrapper_route("/", tmp_path / "silent.py")
    problem = app.test_client().post("/", data=body({}, ("text", b"x")), content_type=KIND)
    assert problem.status_code == 500
    assert problem.get_json(force=True)["type"].endswith(":model-failed")
    app.close()


POLLED = """
from aiges.dto import Response, ResponseData, SessionCreateResponse
from aiges.sdk import StringBodyField, WrapperBase

class Fields:
    text = StringBodyField(key="text")

class Wrapper(WrapperBase):
    requestCls = responseCls = Fields()
    destroyed = 0
    def wrapperInit(self, config):
        self.left = []
        return 0
    def wrapperOnceExec(self, params, reqData): ...
    def wrapperFini(self): return 0
    def wrapperCreate(self, params, sid):
        created = SessionCreateResponse()
        created.handle = sid
        return created
    def wrapperWrite(self, handle, req):
        self.left = [(b"", 1), (req.get("text").data, 1), (b"", 1), (b"end", 2)]
        return 0
    def wrapperRead(self, handle, sid):
        data, status = self.left.pop(0)
        response, piece = Response(), ResponseData("text", data, len(data), 0, status)
        response.list = [piece]
        return response
    def wrapperDestroy(self, handle):
        Wrapper.destroyed += 1
        return 0
"""


def test_a_wrapper_without_callback_is_read_until_its_end_and_destroyed(tmp_path: Path) -> None:
    path = tmp_path / "polled.py"
    path.write_text(POLLED)
    app = Gateway(__name__)
    app.add_wrapper_route("/", path)
    answer = app.test_client().post("/", data=body({}, ("text", b"first")), content_type=KIND)
    parts = parts_of(answer.headers["Content-Type"], answer.data)
    assert [part.data for part in parts[1:-1:2]] == [b"first", b"end"]
    assert vars(app.service.models["/"])["wrapper"].destroyed == 1
    app.close()


SLOT = """
import threading
from aiges.dto import Response, ResponseData, SessionCreateResponse, callback
from aiges.sdk import StringBodyField, WrapperBase
from aiges.stream import StreamHandleThread

class Fields:
    text = StringBodyField(key="text", value=b"good")

class Thread(StreamHandleThread):
    def run(self):
        while True:
            request = self.in_q.get()
            {work}

    def work(self, text):
        if text == b"raises":
            raise RuntimeError
        self.say(text + b" begins", 9 if text == b"refused" else 1)
        if text != b"good":
            Wrapper.gate.wait()
        self.say(text + b" ends", 2)
        self.session_thread.reset()

    def say(self, text, status):
        response = Response()
        response.list = [ResponseData("other", text, status=status), ResponseData("other", b"", type=2, status=1)]
        self.session_thread.callback_fn(response, self.session_thread.sid)

class Wrapper(WrapperBase):
    requestCls = responseCls = Fields()
    gate = threading.Event()
    def wrapperInit(self, config):
        self.session.init_handle_pool("thread", 1, Thread)
        return 0
    def wrapperOnceExec(self, params, reqData): ...
    def wrapperFini(self): return 0
    def wrapperCreate(self, params, sid):
        created = SessionCreateResponse()
        created.handle = self.session.get_idle_handle() or ""
        created.error_code = 0 if created.handle else 10
        if created.handle:
            slot = self.session.get_session(created.handle)
            slot.setup_sid(sid)
            slot.setup_params(params)
            slot.setup_callback_fn(callback)
        return created
    def wrapperWrite(self, handle, req, sid):
        self.session.get_session(handle).in_q.put(req)
        return 0
    def wrapperDestroy(self, handle):
        {destroy}
"""
WORK = "self.work(request.list[0].data)"
FREES = "self.session.reset_session(handle)"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., aiges.WrapperModel]]:
    """Start a wrapper with one slot, whose thread does ``work`` and whose ``wrapperDestroy`` does ``destroy``."""
    monkeypatch.setattr(sessions, "SILENCE", PATIENCE)
    models = list[aiges.WrapperModel]()

    def start(work: str = WORK, destroy: str = "return 0") -> aiges.WrapperModel:
        path = tmp_path / "slot.py"
        path.write_text(SLOT.format(work=work, destroy=destroy))
        models.append(aiges.load("/", path))
        models[-1].setup()
        return models[-1]

    yield start
    for model in models:
        model.wrapper.gate.set()
        model.close()


def converse(model: aiges.WrapperModel, text: bytes) -> streaming.Conversation:
    request, node = DataListCls(), DataListNode()
    node.data, request.list = text, [node]
    return streaming.converse(model, {}, request, report=reporter(strict=True, warn=print))


def answers(conversation: streaming.Conversation) -> list[bytes]:
    return [bytes(items[0].data) for items in conversation]


def once_free(model: aiges.WrapperModel, text: bytes) -> list[bytes]:
    """The answers to a request that is repeated while the slot is busy."""

    def served() -> list[bytes] | None:
        with suppress(VerbFailed):
            return answers(converse(model, text))
        return None

    return eventually(served) or []


GOOD = [b"good begins", b"good ends"]


def test_the_keys_and_types_of_a_stream_are_not_compared_with_the_declared_ones(
    started: Callable[..., aiges.WrapperModel],
) -> None:
    assert answers(converse(started(), b"good")) == GOOD


@pytest.mark.parametrize(
    "work",
    [
        WORK,
        f"try: {WORK}\n            except Exception: pass",
        f"try: {WORK}\n            finally: self.session_thread.reset()",
        f"try: {WORK}\n            except BaseException: self.session_thread.reset()",
    ],
)
def test_a_slot_is_free_again_once_an_answer_is_refused(started: Callable[..., aiges.WrapperModel], work: str) -> None:
    model = started(work)
    for _ in range(3):
        with pytest.raises(AnswerInvalid):
            next(converse(model, b"refused"))
        assert answers(converse(model, b"good")) == GOOD


@pytest.mark.parametrize("work", [WORK, f"try: {WORK}\n            finally: self.session_thread.reset()"])
def test_a_slot_is_free_again_once_its_thread_has_raised(started: Callable[..., aiges.WrapperModel], work: str) -> None:
    model = started(work)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            next(converse(model, b"raises"))
        assert answers(converse(model, b"good")) == GOOD


@pytest.mark.parametrize("destroy", ["return 0", FREES])
def test_no_session_receives_the_answers_of_one_that_ended_early(
    started: Callable[..., aiges.WrapperModel], destroy: str
) -> None:
    model = started(destroy=destroy)
    left = converse(model, b"slow")
    assert bytes(next(left)[0].data) == b"slow begins"
    left.close()
    with pytest.raises(VerbFailed):  # the slot works on
        next(converse(model, b"good"))
    model.wrapper.gate.set()

    assert once_free(model, b"good") == GOOD


def test_a_slot_whose_answers_are_read_is_freed_where_nobody_reads_on(
    started: Callable[..., aiges.WrapperModel],
) -> None:
    model = started("self.out_q.put(request.list[0].data)")
    model.uses_callback = False
    model.wrapper.wrapperRead = lambda handle: model.wrapper.session.get_session(handle).out_q.get()

    for _ in range(3):
        with pytest.raises(AnswerInvalid):
            once_free(model, b"these are no Response")
