"""Parameters of a typed model: read from the request as declared, refused without quoting a value."""

import enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from gateway import Classification, Gateway, Request, unit
from tests.binding.asking import ask, serving

SECRET = "DOE^JANE"


class Side(enum.Enum):
    LEFT = "left"
    RIGHT = "right"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Range(BaseModel):
    low: float
    high: float


def everything(
    threshold: Annotated[float, Field(ge=-1024, le=3071), unit("HU")] = -600,
    count: Annotated[int, Field(gt=0)] = 3,
    smooth: bool = False,
    side: Side = Side.LEFT,
    level: Level = Level.LOW,
    kind: Literal["nodule", "mass"] = "nodule",
    grid: Literal[1, 2] = 1,
    scale: float | None = None,
    seeds: tuple[int, ...] = (),
    window: Range | None = None,
    note: Annotated[str, Field(max_length=8)] = "",
) -> Classification:
    """Say what arrived."""
    return Classification({name: repr(value) for name, value in locals().items()})


APP = serving(everything)


def said(**json_input: Any) -> dict[str, str]:
    answer = ask(APP, **json_input)
    assert answer.status == 200, answer.json
    labels: dict[str, str] = answer.json["study_ml_json"]
    return labels


def refusal(**json_input: Any) -> dict[str, Any]:
    answer = ask(APP, **json_input)
    assert answer.status == 422
    assert answer.json["type"] == "urn:gateway:problem:parameter-refused"
    assert SECRET not in str(answer.json)
    return answer.json


def test_parameters_that_are_not_sent_have_their_defaults() -> None:
    assert said() | {"threshold": "-600.0", "count": "3", "scale": "None"} == said()


@pytest.mark.parametrize(
    ("name", "sent", "read"),
    [
        ("threshold", "-500", "-500.0"),
        ("threshold", -500, "-500.0"),
        ("threshold", " 1e2 ", "100.0"),
        ("count", "7", "7"),
        ("smooth", "true", "True"),
        ("smooth", "0", "False"),
        ("side", "right", "<Side.RIGHT: 'right'>"),
        ("level", "2", "<Level.HIGH: 2>"),
        ("kind", "mass", "'mass'"),
        ("grid", "2", "2"),
        ("scale", "1.5", "1.5"),
        ("scale", "null", "None"),
        ("seeds", "[1, 2]", "(1, 2)"),
        ("seeds", ["1", 2], "(1, 2)"),
        ("window", {"low": "1", "high": 2}, "Range(low=1.0, high=2.0)"),
        ("window", '{"low": 1, "high": 2}', "Range(low=1.0, high=2.0)"),
        ("note", "12", "'12'"),
        ("note", "null", "'null'"),
    ],
)
def test_a_string_is_read_as_what_the_parameter_is(name: str, sent: Any, read: str) -> None:
    assert said(**{name: sent})[name] == read


@pytest.mark.parametrize(
    ("name", "sent", "rule", "kind"),
    [
        ("threshold", "4000", "threshold should be at most 3071 (in HU)", "a string"),
        ("threshold", -1025, "threshold should be at least -1024 (in HU)", "a number"),
        ("threshold", SECRET, "threshold should be a number (in HU)", "a string"),
        ("threshold", "nan", "threshold should be a finite number (in HU)", "a string"),
        ("threshold", "Infinity", "threshold should be a finite number (in HU)", "a string"),
        ("threshold", None, "threshold should be a number (in HU)", "null"),
        ("count", 0, "count should be greater than 0", "a number"),
        ("count", 1.5, "count should be a whole number", "a number"),
        ("count", "1" * 5000, "count has too many digits", "a string"),
        ("count", {"a": SECRET}, "count should be a whole number", "an object"),
        ("smooth", SECRET, "smooth should be true or false", "a string"),
        ("side", SECRET, "side should be 'left' or 'right'", "a string"),
        ("kind", SECRET, "kind should be 'nodule' or 'mass'", "a string"),
        ("grid", [SECRET], "grid should be 1 or 2", "an array"),
        ("seeds", "[" * 100_000, "seeds should be a list", "a string"),
        ("note", f"{SECRET}, born 1970", "note should have at most 8 characters", "a string"),
        ("note", True, "note should be text", "a boolean"),
    ],
)
def test_a_refusal_names_the_field_the_bound_and_the_type_of_what_was_sent(
    name: str, sent: Any, rule: str, kind: str
) -> None:
    problem = refusal(**{name: sent})
    assert problem["pointer"] == f"/{name}"
    assert problem["detail"] == f"{rule}; what was sent is {kind}."


def test_a_fault_inside_a_parameter_is_pointed_at() -> None:
    assert refusal(seeds=[1, SECRET])["pointer"] == "/seeds/1"
    assert refusal(window={"low": 1, "high": SECRET})["pointer"] == "/window/high"
    assert refusal(window={"low": 1})["pointer"] == "/window/high"


def test_every_fault_is_reported_at_once() -> None:
    problem = refusal(threshold=SECRET, count=0)
    assert [error["pointer"] for error in problem["errors"]] == ["/threshold", "/count"]
    assert problem["detail"] == " ".join(error["detail"] for error in problem["errors"])


@given(st.dictionaries(st.sampled_from(list(said())), st.recursive(st.none() | st.booleans() | st.text(), st.lists)))
def test_whatever_is_sent_is_read_or_refused(sent: dict[str, Any]) -> None:
    assert ask(APP, **sent).status in (200, 422)


def test_a_parameter_without_a_default_must_be_sent() -> None:
    def model(threshold: float) -> Classification:
        return Classification({"threshold": threshold})

    answer = ask(serving(model))
    assert (answer.status, answer.json["detail"]) == (422, "threshold is missing.")
    assert ask(serving(model), threshold="2").json["study_ml_json"] == {"threshold": 2.0}


def test_unknown_keys_are_let_pass_as_existing_clients_send_them() -> None:
    assert said(studyUID="1.2", inference_command="lungs", depth="3") == said()


def test_unknown_keys_are_refused_where_the_model_forbids_them() -> None:
    app = serving(everything, forbid_unknown=True)
    answer = ask(app, count=1, **{"other/key": SECRET})
    assert answer.status == 422
    assert answer.json["pointer"] == "/other~1key"
    assert "it takes count, " in answer.json["detail"]
    assert SECRET not in str(answer.json)
    assert ask(app, count=1, output="json").status == 200


def test_output_is_reserved_for_the_form_of_the_answer() -> None:
    problem = refusal(output=SECRET)
    assert (problem["pointer"], problem["detail"]) == ("/output", "output should be json or dicom.")

    def model(output: str) -> Classification:
        return Classification({})

    with pytest.raises(TypeError, match="output is the request's key"):
        serving(model)


def test_a_plain_handler_has_output_to_itself_and_is_plain_whatever_its_annotations() -> None:
    def handler(json_input: dict[str, Any], dicom_instances: list[Any], threshold: float) -> Any:
        return {"study_ml_json": {"output": json_input["output"], "third": type(threshold).__name__}}, []

    app = Gateway("plain")
    app.add_inference_route("/", handler)
    assert ask(app, output="anything").json["study_ml_json"] == {"output": "anything", "third": "str"}


def test_a_model_may_have_the_whole_request() -> None:
    def model(request: Request, count: int = 1) -> Classification:
        sizes = [len(file.read()) for file in request.instances]
        return Classification({"json": request.json, "sizes": sizes, "count": count, "id": bool(request.request_id)})

    labels = ask(serving(model), files=[b"abc", b"de"], count="2", other=[1]).json["study_ml_json"]
    assert labels == {"json": {"count": "2", "other": [1]}, "sizes": [3, 2], "count": 2, "id": True}
