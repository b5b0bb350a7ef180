"""One suite for all doors: the same models, studies, faults and limits, with the same findings, voxel by voxel."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gateway import LocalClient, Settings
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.client import Refused
from tests.conftest import Serve
from tests.dimse.serving import serving
from tests.doors.doors import DOORS, Door, Gate
from tests.doors.questions import FAULTS, LIMITS, QUESTIONS, Question, expected, studies
from tests.doors.service import make
from tests.waiting import eventually

ROLES = frozenset({"infer", "read", "write"})
TITLES = '[ae.DOORS]\naddress = ["127.0.0.1"]\ncaller = "modality"\nmay = ["store"]\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doors")


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, list[Path]]:
    return studies(folder)


@pytest.fixture(scope="module")
def gate(serve: Serve, folder: Path) -> Iterator[Gate]:
    keys = {door.caller: new_key() for door in DOORS}
    callers = [CallerEntry(Caller(name, ROLES, ("*",)), fingerprint(key)) for name, key in keys.items()]
    change(folder / "callers.json", lambda _: callers)
    settings = {name: str(value) for name, value in LIMITS.items()} | {
        "api_keys_file": str(folder / "callers.json"),
        "audit_file": str(folder / "audit.jsonl"),
        "dapr_app_id": "doors",
        "dicomweb": "1",
        "monai": "1",
        "store_folder": str(folder / "store"),
    }
    server = serve("tests.doors.service:app", **{f"GATEWAY_{name.upper()}": text for name, text in settings.items()})
    local = LocalClient(folder / "local", make(Settings(store_folder=folder / "local", **LIMITS)))
    with local, serving(folder, titles=TITLES, dicomweb=True) as association:
        yield Gate(server.url, keys, association.port, local)


def pairs(questions: tuple[Question, ...]) -> list[object]:
    """Each question at each door that has words for it."""
    return [
        pytest.param(door, question, id=f"{door.name}: {question.name}")
        for door in DOORS
        for question in questions
        if door.asks(question)
    ]


@pytest.mark.parametrize(("door", "question"), pairs(QUESTIONS))
def test_every_door_leads_to_the_same_findings(
    gate: Gate, folder: Path, files: dict[str, list[Path]], door: Door, question: Question
) -> None:
    before = records(folder, question, door)
    masks, labels = door.ask(gate.of(door.caller), question, files[question.study])
    wanted, said = expected(question, files[question.study])
    assert masks.keys() == wanted.keys()
    for label, mask in wanted.items():
        np.testing.assert_array_equal(masks[label], mask, err_msg=label)
    assert labels == (said if door.carries_labels else {})
    assert not door.audited or eventually(lambda: records(folder, question, door) == before + 1)


def records(folder: Path, question: Question, door: Door) -> int:
    """How many records of an audit, which follow their answers, are of an answer to a door's caller."""
    file = folder / "audit.jsonl"  # which the first answer makes
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    found = [json.loads(line) for line in lines if line.endswith(b"\n")]
    wanted = question.route, 200, door.caller
    return sum((one.get("route"), one.get("status"), one["caller"]) == wanted for one in found)


@pytest.mark.parametrize(("door", "fault"), pairs(FAULTS))
def test_every_door_reports_the_same_faults(
    gate: Gate, files: dict[str, list[Path]], door: Door, fault: Question
) -> None:
    with pytest.raises(Refused) as caught:
        door.ask(gate.of(door.caller if fault.known else ""), fault, files[fault.study])
    assert (caught.value.status, caught.value.code) == door.fault(fault)
    assert "DOE" not in str(caught.value)
