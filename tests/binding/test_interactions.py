"""A model that is a generator: its steps reach the caller, and the caller's answers reach it as checked values."""

import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import (
    Ask,
    Batch,
    Box,
    BoxClick,
    Cancelled,
    Classification,
    Click,
    Clicks,
    Execution,
    Image,
    Interactive,
    Mask,
    Point,
    Preview,
    Progress,
    Request,
    Volume,
    current_request,
)
from gateway.binding.declaration import read_declaration
from gateway.binding.typed_model import TypedModel
from gateway.contract.execution import MAX_PREVIEWS, RequestContext
from gateway.contract.requests import EncodedAnswer
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.errors import AnswerInvalid, ParameterRefused, RunRequired
from gateway.protocol.questions import question_words, read_reply, reply_words, same_question
from tests.binding.asking import SHAPE, ask, series, serving

VALUES = {
    "point": Point(1, 2.5, 3),
    "box": Box(Point(0, 0, 0), Point(1, 2, 3)),
    "clicks": Clicks((Click(Point(0, 1, 2), False),), (BoxClick(Box(Point(0, 0, 0), Point(1, 1, 1))),), True),
    "choice": "liver",
    "text": "",
    "number": 0.5,
    "password": "secret",
}
"""An answer of each kind."""


class Person(RequestContext):
    """A caller who answers at once, and notes what it is shown."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self.answers = list(answers)
        self.questions: list[dict[str, Any]] = []
        self.shown: list[EncodedAnswer | None] = []
        self.previews: list[tuple[bytes, str]] = []

    def preview(self, picture: bytes, text: str = "") -> None:
        self.previews.append((picture, text))

    def ask(self, question: dict[str, Any], shown: EncodedAnswer | None = None) -> dict[str, Any]:
        self.questions.append(question)
        self.shown.append(shown)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, dict) else reply_words(answer)


def predict(target: Any, person: RequestContext, files: Any = None) -> Any:
    """The answer of a model to a caller, in findings."""
    instances = [BytesIO(convert_dataset_to_bytes(each)) for each in (series() if files is None else files)]
    return TypedModel("/", target).findings(Request({}, instances, "0" * 64, context=person))


def locate(ct: Volume) -> Interactive[Mask]:
    yield Progress(1, 3, "one third")
    yield Preview(np.zeros((4, 5), np.uint8), "a picture")
    point = yield Ask("Where?", kind="point")
    name = yield Ask("Which?", kind="choice", choices=("liver", "spleen"), default="spleen")
    found = np.zeros(SHAPE, np.uint8)
    found[point.voxel] = 1
    return Mask(found, label=name)


def test_a_generator_tells_and_asks_and_returns_its_findings() -> None:
    person = Person(Point(1, 2.4, 3.5), "liver")
    (mask,) = predict(locate, person)
    assert (mask.label, np.argwhere(mask.array).tolist()) == ("liver", [[1, 2, 4]])
    assert person.done == (1, 3, "one third")
    ((picture, text),) = person.previews
    assert (picture[:4], text) == (b"\x89PNG", "a picture")
    where, which = person.questions
    assert (where["kind"], where["shape"], where["SeriesInstanceUID"]) == ("point", list(SHAPE), "1.2.3.1")
    assert (which["choices"], which["default"], "shape" in which) == (["liver", "spleen"], "spleen", False)


@pytest.mark.parametrize("kind", VALUES)
def test_an_answer_arrives_as_the_value_of_its_kind(kind: str) -> None:
    taken: list[Any] = []

    def model(ct: Volume) -> Interactive[Classification]:
        taken.append((yield Ask("What?", kind=kind, choices=("liver",) if kind == "choice" else ())))
        return Classification({})

    predict(model, Person(VALUES[kind]))
    assert taken == [VALUES[kind]]
    assert type(taken[0]) is type(VALUES[kind])


def test_a_finding_is_shown_with_its_question() -> None:
    def grow(ct: Volume) -> Interactive[Mask]:
        clicks, mask = Clicks(), Mask(np.zeros(SHAPE, bool))
        while not clicks.finished:
            clicks = yield Ask("Click.", kind="clicks", shown=mask)
            region = np.zeros(SHAPE, bool)
            for click in clicks.points:
                region[click.point.voxel] = click.positive
            mask = Mask(region)
        return mask

    one = Clicks((Click(Point(0, 1, 2)),))
    person = Person(one, one._replace(finished=True))
    (mask,) = predict(grow, person)
    first, second = person.shown
    assert first is not None
    assert second is not None
    assert b'"boolean_mask"' in first.json_bytes
    assert not any(first.parts[0].data)
    assert bytes(second.parts[0].data) == mask.array.tobytes()


def test_points_on_an_image_have_the_slice_0() -> None:
    def find(ct: Image) -> Interactive[Classification]:
        point = yield Ask("Where?", kind="point")
        return Classification({"row": point.row})

    person = Person(Point(0, 1, 2))
    predict(find, person, series()[:1])
    assert person.questions[0]["shape"] == [1, *SHAPE[1:]]


QUESTION = {"question": "Which?", "shape": [4, 16, 16], "choices": ["liver", "spleen"]}
REFUSED: dict[str, list[Any]] = {
    "point": [None, [], [1, 2], [1, 2, 3, 4], [1, 2, "3"], [1, 2, True], [-0.6, 0, 0], [3.5, 0, 0], [0, 0, 15.5]]
    + [[0, 0, math.nan], [0, 0, 10**400], {"at": [0, 0, 0]}],
    "box": [[0, 0, 0], [[0, 0, 0]], [[1, 0, 0], [0, 1, 1]], [[0, 0, 0], [4, 0, 0]]],
    "clicks": [[], {"more": 1}, {"points": {}}, {"points": [[0, 0, 0]]}, {"points": [{"at": [0, 0, 0], "x": 1}]}]
    + [{"points": [{"at": [9, 0, 0]}]}, {"points": [{"at": [0, 0, 0], "positive": 1}]}, {"finished": 0}]
    + [{"points": [{"at": [0, 0, 0]}] * 1001}, {"boxes": [{"box": [[0, 0, 0], [0, 0]]}]}],
    "choice": ["", "LIVER", 1, None, ["liver"]],
    "text": [1, None, "x" * 4_097],
    "number": ["1", True, math.inf, math.nan, 10**400, None],
    "password": [1, "x" * 4_097],
}
CASES = [(kind, value) for kind, values in REFUSED.items() for value in values]


@pytest.mark.parametrize(("kind", "value"), CASES, ids=lambda one: repr(one)[:40])
def test_an_answer_that_does_not_fit_its_question_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(ParameterRefused) as refusal:
        read_reply(QUESTION | {"kind": kind}, {"answer": value})
    assert refusal.value.pointer.startswith("/answer")


@pytest.mark.parametrize("answer", [{}, {"point": [0, 0, 0]}, {"answer": [0, 0, 0], "more": 1}])
def test_an_answer_is_one_member(answer: dict[str, Any]) -> None:
    with pytest.raises(ParameterRefused):
        read_reply(QUESTION | {"kind": "point"}, answer)


@given(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3))
def test_a_point_that_is_accepted_lies_in_a_voxel(place: tuple[float, float, float]) -> None:
    try:
        point = read_reply(QUESTION | {"kind": "point"}, {"answer": list(place)})
    except ParameterRefused:
        assert not all(-0.5 <= index < size - 0.5 for index, size in zip(place, (4, 16, 16), strict=True))
    else:
        assert all(0 <= index < size for index, size in zip(point.voxel, (4, 16, 16), strict=True))


def test_the_question_of_a_plain_handler_takes_any_object() -> None:
    assert read_reply({"number": 1}, {"side": "left"}) == {"side": "left"}
    assert not same_question({"number": 1}, {"number": 2})
    assert same_question({"number": 1}, {"number": 1})


def test_a_question_is_compared_by_what_its_answer_depends_on() -> None:
    asked = question_words(Ask("Which?", kind="choice", choices=("a", "b"), default="a"))
    assert same_question(asked, question_words(Ask("Which?", kind="choice", choices=("a", "b"))))
    assert not same_question(asked, question_words(Ask("Which?", kind="choice", choices=("b", "a"))))
    assert not same_question(asked, question_words(Ask("Which?")))


def test_a_request_is_answered_where_the_model_does_not_ask() -> None:
    def maybe(ct: Volume, careful: bool = False) -> Interactive[Classification]:
        yield Progress(1, 2)
        name = (yield Ask("Who?")) if careful else "nobody"
        return Classification({"name": name})

    app = serving(maybe)
    assert ask(app, files=series()).json["study_ml_json"] == {"name": "nobody"}
    refused = ask(app, files=series(), careful=True)
    assert (refused.status, refused.json["type"].rpartition(":")[2]) == (422, "run-required")
    operation = app.test_client().get("/openapi.json").get_json()["paths"]["/"]["post"]
    assert operation["x-interactive"] is True
    assert "May ask its caller" in operation["description"]


@pytest.mark.parametrize("error", [Cancelled(), RunRequired("It asks.")])
def test_a_generator_that_is_not_wanted_is_closed(error: Exception) -> None:
    ends: list[str] = []

    def model(ct: Volume) -> Interactive[Classification]:
        try:
            yield Ask("Who?")
        except GeneratorExit:
            ends.append("closed")
            raise
        finally:
            ends.append("finally")
        return Classification({})

    with pytest.raises(type(error)):
        predict(model, Person(error))
    assert ends == ["closed", "finally"]


def raising_at_the_end(ct: Volume) -> Interactive[Classification]:
    try:
        yield Ask("Who?")
    finally:
        raise ValueError("in finally")


def going_on(ct: Volume) -> Interactive[Classification]:
    while True:
        try:
            yield Ask("Who?")
        except GeneratorExit:
            yield Progress(1, 2)


@pytest.mark.parametrize("model", [raising_at_the_end, going_on])
def test_a_generator_that_ends_badly_does_not_replace_the_error(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Cancelled):
        predict(model, Person(Cancelled()))
    assert "was not closed" in caplog.text


@pytest.mark.parametrize("step", [None, 5, "Where?", Mask(np.zeros(SHAPE, bool)), (Ask("Who?"),)], ids=repr)
def test_a_step_of_another_class_is_the_models_fault(step: Any) -> None:
    def model(ct: Volume) -> Interactive[Classification]:
        yield step
        return Classification({})

    with pytest.raises(AnswerInvalid):
        predict(model, Person())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ask(""),
        lambda: Ask("x" * 4_097),
        lambda: Ask("Which?", kind="colour"),
        lambda: Ask("Which?", kind="choice"),
        lambda: Ask("Which?", choices=("a",)),
        lambda: Ask("Which?", kind="choice", choices=("a", "a")),
        lambda: Ask("Which?", kind="choice", choices="ab"),
        lambda: Ask("Which?", kind="choice", choices=[str(number) for number in range(101)]),
        lambda: Ask("Password?", kind="password", default="secret"),
        lambda: Preview(np.zeros((4, 5))),
        lambda: Preview(np.zeros((4, 5, 4), np.uint8)),
        lambda: Preview(np.zeros((0, 5), np.uint8)),
        lambda: Preview([[0]]),
    ],
)
def test_a_step_that_means_nothing_cannot_be_made(make: Any) -> None:
    with pytest.raises(ValueError, match="should|needs|has no"):
        make()


def test_a_default_that_is_no_answer_is_refused() -> None:
    with pytest.raises(ParameterRefused):
        question_words(Ask("Which?", kind="choice", choices=("a", "b"), default="c"))


class SlowPerson(Person):
    """A caller who is asked by one thread at a time, or notices."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = threading.Lock()

    def ask(self, question: dict[str, Any], shown: EncodedAnswer | None = None) -> dict[str, Any]:
        with self.waiting():
            assert self.busy.acquire(blocking=False)
            try:
                return {"echo": question["question"]}
            finally:
                self.busy.release()


def test_questions_of_several_threads_are_asked_one_after_the_other() -> None:
    person = SlowPerson()
    person.deadline = deadline = time.monotonic() + 60
    request = Request({}, [], "", context=person)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: request.ask({"question": number}), range(200)))
    assert answers == [{"echo": number} for number in range(200)]
    assert person.deadline == pytest.approx(deadline + person.waited)


def test_previews_without_end_are_shown_up_to_a_bound() -> None:
    def model(ct: Volume) -> Interactive[Classification]:
        for _ in range(MAX_PREVIEWS + 5):
            yield Preview(np.zeros((2, 2), np.uint8))
        return Classification({})

    person = Person()
    predict(model, person)
    assert len(person.previews) == MAX_PREVIEWS


def test_a_generator_that_never_ends_is_stopped_by_its_deadline() -> None:
    def model(ct: Volume) -> Interactive[Classification]:
        while True:
            yield Progress(1, 2)

    with pytest.raises(Cancelled):
        person = Person()
        person.deadline = 0.0
        predict(model, person)


async def awaited(ct: Volume) -> Classification:
    return Classification({})


async def awaited_steps(ct: Volume) -> Any:
    yield Progress(1, 2)


def undeclared_steps(ct: Volume) -> Iterator[Mask]:
    yield Mask(np.zeros(SHAPE, bool))


@pytest.mark.parametrize("target", [awaited, awaited_steps, undeclared_steps])
def test_a_function_of_another_kind_is_no_model(target: Any) -> None:
    with pytest.raises(TypeError, match=target.__name__):
        read_declaration(target)


def test_an_interactive_model_has_no_batch() -> None:
    def model(ct: list[Volume]) -> Interactive[Mask]:
        yield Progress(1, 2)
        return Mask(np.zeros(SHAPE, bool))

    TypedModel("/", model)  # here the list is one of volumes
    with pytest.raises(TypeError, match="one request at a time"):
        serving(model, execution=Execution(batch=Batch(4)))


def test_the_declaration_of_an_interactive_model_has_its_findings() -> None:
    declared = read_declaration(locate)
    assert (declared.interactive, declared.outputs) == (True, (Mask,))
    assert TypedModel("/", locate).identify(Request({}, [], "")) is None


def test_a_model_is_warmed_up_to_its_first_question(caplog: pytest.LogCaptureFixture) -> None:
    reached = []

    def locate(volume: Volume) -> Interactive[Classification]:
        reached.append(volume.shape)
        yield Ask("Where?", kind="point")
        reached.append(())
        return Classification({"there": 1.0})

    caplog.set_level("INFO", logger="gateway")
    TypedModel("locate", locate).warm_up()
    assert len(reached) == 1
    assert not caplog.records


def test_a_model_that_reports_to_its_request_is_warmed_up() -> None:
    def read(volume: Volume) -> Classification:
        current_request().progress(1, 2)
        return Classification({"read": 1.0})

    TypedModel("read", read).warm_up()
