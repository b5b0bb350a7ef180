"""``deliveries``: results on their way to peers, listed, shown and tried again by an operator."""

import json
from pathlib import Path

import pytest

from gateway.studies import delivery_rows
from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.index import Index
from tests.cli.conftest import Run


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two deliveries, the first of which is dead."""
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("GATEWAY_STORE_FOLDER", str(tmp_path / "store"))
    pairs = [("1.2.3", "a" * 64), ("1.2.4", "b" * 64)]
    index = Index(tmp_path / "store")
    with index.writing() as connection:
        made = [
            delivery_rows.queue(
                connection, caller="ct", destination=name, study="1.2", instances=pairs, now=1e9, run_key="c" * 64
            )
            for name in ("pacs", "archive")
        ]
        first = delivery_rows.claim(connection, 1e9, 60, ["archive"])
        assert first is not None
        outcomes = {"1.2.3": (DeliveryState.DELIVERED, "stored"), "1.2.4": (DeliveryState.DEAD, "refused-0122")}
        delivery_rows.record(connection, first, outcomes)
        delivery_rows.settle(connection, first, "refused-0122", 1e9 + 5, None)
    index.close()
    return made


def test_dead_ones_are_listed_shown_and_tried_again(run: Run, ids: list[str]) -> None:
    (line,) = run("deliveries", "list").out.splitlines()
    assert line.split("\t")[:6] == [ids[0], "dead", "1", "refused-0122", "pacs", "ct"]
    (words,) = json.loads(run("deliveries", "list", "--json").out)
    assert (words["run"], words["queued"], words["ended"]) == (
        "c" * 64,
        "2001-09-09T01:46:40+00:00",
        "2001-09-09T01:46:45+00:00",
    )
    assert run("deliveries", "list", "--state", "any", "--to", "archive").out.startswith(ids[1])
    shown = run("deliveries", "show", ids[0]).out
    assert "1.2.4\tdead\trefused-0122" in shown
    found = json.loads(run("deliveries", "show", ids[0], "--json").out)
    assert [each["state"] for each in found["instances"]] == ["delivered", "dead"]
    assert run("deliveries", "retry", ids[0], ids[0]).out == "retry   1 delivery\n"
    assert run("deliveries", "list").out == ""
    assert [each["state"] for each in json.loads(run("deliveries", "show", ids[0], "--json").out)["instances"]] == [
        "delivered",
        "pending",
    ]
    assert run("deliveries", "retry", "--all").out == "retry   0 deliveries\n"


def test_what_is_not_there_is_wrong_usage(run: Run, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["show", "dlv_none"], ["retry", ids[1]], ["retry"], ["retry", "--all", ids[0]]):
        assert run("deliveries", *words).status == 2
    monkeypatch.delenv("GATEWAY_STORE_FOLDER")
    assert run("deliveries", "list").status == 2
