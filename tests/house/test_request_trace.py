"""The life of a request, as docs/architecture.md draws it, against a request that is traced."""

import re

import pytest

from tests.house.imports import ROOT
from tests.house.request_trace import passed

TABLE = re.compile(r"^\| `([a-z_.]+)` \|", re.MULTILINE)
CALLED_THROUGHOUT = {"observe", "contract", "spool"}
"""Rooms that many steps call, and that are no step of their own in the table."""


@pytest.fixture(scope="module")
def way() -> list[str]:
    return list(dict.fromkeys(passed()))


def drawn() -> list[str]:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## The life of a request")[2].partition("\n## ")[0]
    return TABLE.findall(section)


def test_a_request_enters_the_modules_in_the_order_that_is_drawn(way: list[str]) -> None:
    steps = drawn()
    assert len(steps) > 10
    assert [name for name in way if name in steps] == steps


def test_every_room_that_a_request_passes_is_drawn(way: list[str]) -> None:
    rooms, steps = ({name.partition(".")[0] for name in names} for names in (way, drawn()))
    assert rooms - CALLED_THROUGHOUT == steps - CALLED_THROUGHOUT
