"""Each body on disk has its expected result, however it is cut."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import RequestError
from gateway.wire import Limits, parse_options_header
from tests.wire import reference
from tests.wire.feeding import ReadPart, cut, halves, read

CORPUS = Path(__file__).parents[1] / "corpus"


class Case:
    """A body and its expected result."""

    def __init__(self, path: Path) -> None:
        self.body = path.read_bytes()
        self.expected: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        self.limits = Limits(**self.expected.get("limits", {}))

    @property
    def boundary(self) -> str:
        return parse_options_header(self.expected["content_type"])[1].get("boundary", "")

    def read(self, pieces: list[bytes]) -> list[dict[str, Any]]:
        parts = read(self.boundary, pieces, self.limits)
        return [shown(part, wanted) for part, wanted in zip(parts, self.expected["parts"], strict=True)]

    def refusal(self, pieces: list[bytes]) -> dict[str, Any]:
        with pytest.raises(RequestError) as refused:
            read(self.boundary, pieces, self.limits)
        return refused.value.problem()


def shown(part: ReadPart, wanted: dict[str, Any]) -> dict[str, Any]:
    """A part in the terms in which its expectation is written."""
    headers, data = part
    if "text" in wanted:
        return {"headers": headers, "text": data.decode("latin-1")}
    return {"headers": headers, "length": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def cases(folder: str) -> pytest.MarkDecorator:
    paths = sorted((CORPUS / folder).glob("*.body"))
    return pytest.mark.parametrize("case", [pytest.param(Case(path), id=path.stem) for path in paths])


def test_the_corpus_is_complete() -> None:
    for folder, least in (("good", 25), ("bad", 35)):
        bodies = {path.stem for path in (CORPUS / folder).glob("*.body")}
        assert bodies == {path.stem for path in (CORPUS / folder).glob("*.json")}
        assert len(bodies) >= least


@cases("good")
def test_a_good_body_is_read_whole(case: Case) -> None:
    assert case.read([case.body]) == case.expected["parts"]


@cases("good")
def test_a_good_body_is_read_byte_by_byte(case: Case) -> None:
    assert case.read(cut(case.body, 1)) == case.expected["parts"]


@cases("good")
def test_a_good_body_is_read_split_at_each_offset(case: Case) -> None:
    for pieces in halves(case.body):
        assert case.read(pieces) == case.expected["parts"]


@cases("good")
@pytest.mark.parametrize("trailing", [b"\r\n", b"\r\n\r\n--\r\n", b"\r\nGET / HTTP/1.1\r\n\r\n\x00\xff"])
def test_a_good_body_is_read_with_bytes_behind_it(case: Case, trailing: bytes) -> None:
    for pieces in ([case.body + trailing], [case.body, trailing], cut(case.body + trailing, 1)):
        assert case.read(pieces) == case.expected["parts"]


@cases("good")
def test_the_reference_reads_a_good_body_alike(case: Case) -> None:
    parts = reference.read(case.body, case.boundary)
    wanted = case.expected["parts"]
    assert [shown(part, as_shown) for part, as_shown in zip(parts, wanted, strict=True)] == wanted


@cases("good")
def test_a_good_body_is_broken_wherever_it_is_cut_off(case: Case) -> None:
    closing = case.body.rindex(b"\n--" + case.boundary.encode() + b"--")
    for length in range(closing):
        assert case.refusal([case.body[:length]])["type"] == "urn:gateway:problem:broken-body"


@cases("bad")
def test_a_bad_body_is_refused_whole(case: Case) -> None:
    problem = case.refusal([case.body])
    assert problem["type"] == f"urn:gateway:problem:{case.expected['code']}"
    assert case.expected["says"] in problem["detail"]


@cases("bad")
def test_a_bad_body_is_refused_alike_byte_by_byte_and_split_at_each_offset(case: Case) -> None:
    problem = case.refusal([case.body])
    assert case.refusal(cut(case.body, 1)) == problem
    for pieces in halves(case.body) if len(case.body) < 2000 else ():
        assert case.refusal(pieces) == problem


@cases("bad")
@pytest.mark.parametrize("trailing", [b"x", b"\r\n"])
def test_a_bad_body_is_not_mended_by_bytes_behind_it(case: Case, trailing: bytes) -> None:
    problem = case.refusal([case.body + trailing])
    assert case.refusal([case.body, trailing]) == problem
    assert case.refusal(cut(case.body + trailing, 1)) == problem
