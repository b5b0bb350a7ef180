"""A receipt has what replay needs and nothing of a patient, signed; comparing two shows what has changed."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.audit.comparison import UNVOUCHED, compare
from gateway.observe.audit.receipts import LONGEST, Receipt, header_of, is_signed, is_wanted, read_receipt, receipt_of
from tests.observe.chains import KEY, OTHER_KEY, outcome


def made(**given: Any) -> Receipt:
    return receipt_of(outcome(**given), algorithm="sha256", key=KEY)


def test_a_receipt_holds_all_that_replay_needs() -> None:
    receipt = receipt_of(outcome(), algorithm="blake3", accept="application/dicom")
    assert receipt == {
        "v": 1,
        "accept": "application/dicom",
        "algorithm": "blake3",
        "deterministic": True,
        "gateway": receipt["gateway"],
        "input": "a" * 64,
        "model": {"digest": "d" * 64, "name": "dense", "version": "1.2.0", "weights": "e" * 64},
        "output": "b" * 64,
        "parameters": "c" * 64,
        "request": receipt["request"],
        "route": "/dense",
        "time": "2026-03-01T12:00:00.123456Z",
    }


def test_a_receipt_names_neither_the_caller_nor_the_id_that_it_chose() -> None:
    text = json.dumps(made(request_id="Doe.Jane", caller="Ward 7"))
    assert "Doe" not in text
    assert "Ward" not in text


def test_a_receipt_fits_into_a_field_and_is_read_back() -> None:
    receipt = made(model_name="m" * 500, model_version="v" * 500, route="/" + "r" * 500)
    assert len(header_of(receipt)) < 3000
    assert read_receipt(header_of(receipt)) == receipt == read_receipt(json.dumps(receipt, indent=2))


@given(name=st.sampled_from(sorted(made())), value=st.text(max_size=70) | st.integers() | st.none())
def test_a_receipt_that_was_changed_is_not_signed(name: str, value: Any) -> None:
    receipt = made()
    assert is_signed(receipt, KEY)
    assert not is_signed(receipt, OTHER_KEY)
    if receipt[name] != value:
        assert not is_signed(receipt | {name: value}, KEY)
    assert not is_signed({key: value for key, value in receipt.items() if key != name}, KEY)


@given(st.text() | st.binary(max_size=200).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_what_is_no_receipt_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="receipt"):
        read_receipt(text)


@pytest.mark.parametrize(
    "text",
    ["[" * 10_000, "{" + " " * LONGEST, "{}", '{"v": 2}', '{"v": 1}', json.dumps(made() | {"model": []}), "{NaN"],
)
def test_a_receipt_with_something_amiss_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="receipt"):
        read_receipt(text)


@pytest.mark.parametrize("name", sorted(made().keys() - {"mac", "accept"}))
def test_a_receipt_that_lacks_a_member_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="receipt"):
        read_receipt(json.dumps({member: value for member, value in made().items() if member != name}))


@pytest.mark.parametrize(
    ("prefer", "wanted"),
    [
        ("receipt", True),
        ("respond-async, Receipt", True),
        ("receipt;foo=bar", True),
        ("", False),
        ("receipts", False),
        ("return=receipt", False),
    ],
)
def test_a_receipt_is_requested_by_a_preference(prefer: str, wanted: bool) -> None:
    assert is_wanted(prefer) is wanted


def different(**changed: Any) -> list[tuple[str, str]]:
    lines = compare(made(), made(**changed))
    return [(line.name, line.sentence) for line in lines if line.same is False]


def test_an_answer_that_was_made_again_is_the_same_in_all() -> None:
    assert different(received=outcome().received.replace(year=2027), seconds=9.0, request_id="another") == []


@pytest.mark.parametrize(
    ("changed", "name", "word"),
    [
        ("input_digest", "input", "changed"),
        ("parameters_digest", "parameters", "DIFFERENT"),
        ("weights_digest", "model", "weights"),
        ("model_version", "model", "version"),
        ("model_name", "model", "name"),
        ("model_digest", "model", "source or config"),
        ("output_digest", "answer", "DIFFERENT"),
    ],
)
def test_what_has_changed_is_named(changed: str, name: str, word: str) -> None:
    ((found, sentence),) = different(**{changed: "0" * 64})
    assert found == name
    assert word in sentence


def test_a_model_without_weights_is_marked_as_unvouched_for() -> None:
    receipt = made(weights_digest="")
    assert [line.sentence for line in compare(receipt, receipt) if line.name == "weights"] == [UNVOUCHED]


def test_a_plain_function_has_no_name_to_differ_by() -> None:
    bare = {"model_digest": "", "weights_digest": "", "model_version": ""}
    lines = compare(made(**bare, model_name="/here"), made(**bare, model_name="/there"))
    assert [line.sentence for line in lines if line.name == "model"] == ["says nothing of itself"]


def test_a_model_is_deterministic_only_where_declared() -> None:
    then = made(deterministic=False)
    (line,) = [line for line in compare(then, made(output_digest="0" * 64)) if line.same is False]
    assert "does not say that it is deterministic" in line.sentence
