"""Values of parameters: JSON's types hold as in JSON Schema, and many faults cost no more than a few."""

import json
from decimal import Decimal
from enum import IntEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

from gateway import Classification
from gateway.binding import parameters
from gateway.binding.declaration import read_declaration
from gateway.binding.parameter_values import MAX_COUNTED, MAX_TEXT_VALUES
from gateway.errors import MAX_FAULTS, ParameterRefused

MANY = 20_000


class Level(IntEnum):
    LOW = 1


class Box(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: int
    y: int = 0
    weight: float = 1
    closed: bool = False


def model(
    count: int = 1,
    share: float = 1,
    smooth: bool = False,
    level: Level = Level.LOW,
    grid: Literal[1, 2] = 1,
    dose: Decimal = Decimal(1),
    seeds: tuple[int, ...] = (),
    groups: dict[str, list[list[float]]] | None = None,
    box: Box | None = None,
    boxes: list[Box] | None = None,
    names: dict[str, int] | None = None,
    either: int | bool = 0,
    free: Any = None,
) -> Classification:
    return Classification(locals())


DECLARED = read_declaration(model).parameters


def read(**sent: Any) -> Any:
    return parameters.read(DECLARED, sent)


def refused(**sent: Any) -> ParameterRefused:
    with pytest.raises(ParameterRefused) as refusal:
        read(**sent)
    assert len(json.dumps(refusal.value.problem())) < 16 * 1024
    return refusal.value


@pytest.mark.parametrize(
    ("sent", "pointer", "rule"),
    [
        ({"count": True}, "/count", "a whole number"),
        ({"share": False}, "/share", "a number"),
        ({"level": True}, "/level", "a whole number"),
        ({"grid": True}, "/grid", "a whole number"),
        ({"dose": True}, "/dose", "a number"),
        ({"seeds": [1, True]}, "/seeds/1", "a whole number"),
        ({"groups": {"a": [[1], [2, True]]}}, "/groups/a/1/1", "a number"),
        ({"box": {"x": True}}, "/box/x", "a whole number"),
        ({"boxes": [{"x": 1}, {"x": 1, "weight": True}]}, "/boxes/1/weight", "a number"),
    ],
)
def test_a_truth_value_is_no_number(sent: dict[str, Any], pointer: str, rule: str) -> None:
    refusal = refused(**sent)
    assert refusal.pointer == pointer
    assert refusal.detail.endswith(f"should be {rule}; what was sent is a boolean.")


@pytest.mark.parametrize("sent", [{"smooth": 1}, {"smooth": 0.0}, {"box": {"x": 1, "closed": 1}}])
def test_a_number_is_no_truth_value(sent: dict[str, Any]) -> None:
    assert refused(**sent).detail.endswith("should be true or false; what was sent is a number.")


def test_a_truth_value_within_a_text_is_no_number() -> None:
    assert refused(seeds="[1, true]").pointer == "/seeds"
    assert refused(count="true").pointer == "/count"


def test_a_number_without_a_fraction_is_an_integer() -> None:
    sent = read(count=1.0, level=1.0, grid=2.0, seeds=[3.0], box={"x": 4.0})
    assert (sent.count, sent.level, sent.grid, sent.seeds, sent.box.x) == (1, Level.LOW, 2, (3,), 4)
    assert refused(count=1.5).pointer == "/count"


def test_what_takes_both_keeps_what_was_sent() -> None:
    sent = read(either=True, free=[True, 1], smooth=True, dose=1.5)
    assert sent.either is True
    assert sent.free == [True, 1]
    assert sent.smooth is True
    assert sent.dose == Decimal("1.5")


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity"])
def test_no_spelling_of_infinity_is_a_number(text: str) -> None:
    assert refused(share=text).pointer == "/share"
    assert refused(box={"x": 1, "weight": text}).pointer == "/box/weight"
    assert refused(boxes=json.dumps([{"x": 1, "weight": text}])).pointer == "/boxes"
    assert refused(groups='{"a": [[NaN]]}').pointer == "/groups"


FAULTY: dict[str, tuple[dict[str, Any], str]] = {
    "items of a list": ({"seeds": ["a"] * MANY}, "/seeds/0"),
    "items of a text": ({"seeds": json.dumps(["a"] * MANY)}, "/seeds"),
    "members of an object": ({"names": {str(number): "a" for number in range(MANY)}}, "/names/0"),
    "objects of a list": ({"boxes": [{}] * MANY}, "/boxes/0/x"),
    "lists in lists": ({"groups": {"a": [["a"]] * MANY}}, "/groups/a/0/0"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_container_is_read_up_to_its_first_fault(name: str) -> None:
    sent, pointer = FAULTY[name]
    refusal = refused(**sent)
    assert [fault["pointer"] for fault in refusal.members["errors"]] == [pointer]
    assert "too many" not in refusal.detail


def test_many_unknown_members_of_an_object_are_counted_and_not_listed() -> None:
    refusal = refused(box={f"key {number}": 1 for number in range(MANY)})
    assert refusal.pointer == "/box"
    assert f"{MANY + 1} faults" in refusal.detail
    listed = refused(box={"x": 1, **{f"key {number}": 1 for number in range(MAX_COUNTED)}})
    assert len(listed.members["errors"]) == MAX_FAULTS
    assert listed.detail.endswith(f"And {MAX_COUNTED - MAX_FAULTS} more.")


def test_many_unknown_parameters_are_counted_and_not_listed() -> None:
    sent = {"count": "a", **{f"key {number}": 1 for number in range(MANY)}}
    with pytest.raises(ParameterRefused) as refusal:
        parameters.read(DECLARED, sent, forbid_unknown=True)
    assert len(refusal.value.members["errors"]) == MAX_FAULTS
    assert refusal.value.detail.endswith(f"And {MANY + 1 - MAX_FAULTS} more.")


def test_a_long_key_is_cut_in_the_answer() -> None:
    assert len(refused(names={"k" * 100_000: "a"}).pointer) < 100


def test_json_within_a_text_is_counted_before_it_is_read() -> None:
    assert len(read(seeds=f"[1{',1' * (MAX_TEXT_VALUES - 2)}]").seeds) == MAX_TEXT_VALUES - 1
    assert "at most" in refused(seeds=f"[1{',1' * MAX_TEXT_VALUES}]").detail
    assert refused(seeds="[" * 50_000).pointer == "/seeds"
