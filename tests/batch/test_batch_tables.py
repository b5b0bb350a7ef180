"""The tables of a batch survive its end at any byte."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batch.batch_tables import FINDINGS, STUDIES, BatchTables, OtherBatch, StudyRow, StudyState
from gateway.batch.finding_rows import FindingLine

ORDER = {"app": "models.app:app", "model": "/", "parameters": {}}


def row(study: str, state: StudyState = StudyState.ANSWERED, findings: int = 0) -> StudyRow:
    return StudyRow(study=study, state=state, files=1, bytes=2, findings=findings, reason='It is\nso, "really".')


def lines(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))[1:]


@given(cut=st.integers(0, 400), other=st.integers(0, 200))
def test_a_cut_table_has_whole_rows_and_each_finding_once(
    tmp_path_factory: pytest.TempPathFactory, cut: int, other: int
) -> None:
    out = tmp_path_factory.mktemp("out")
    tables = BatchTables.open(out, ORDER, resume=False)
    for name in ("a", "b"):
        tables.add(row(name, findings=2), [FindingLine("boolean mask", "Lung", "1.5", "mL")] * 2)
    tables.close()
    for name, bytes_cut in ((STUDIES, cut), (FINDINGS, other)):
        data = (out / name).read_bytes()
        head = data.index(b"\n") + 1
        (out / name).write_bytes(data[: max(head, len(data) - bytes_cut)])
    again = BatchTables.open(out, ORDER, resume=True)
    for name in {"a", "b"} - again.rows.keys():
        again.add(row(name, findings=2), [FindingLine("boolean mask", "Lung", "1.5", "mL")] * 2)
    again.close()
    assert sorted(line[0] for line in lines(out / STUDIES)) == ["a", "b"]
    found = [line[0] for line in lines(out / FINDINGS)]
    assert all(found.count(name) <= 2 for name in ("a", "b"))


def test_failed_studies_are_tried_again_and_refused_ones_are_not(tmp_path: Path) -> None:
    tables = BatchTables.open(tmp_path / "out", ORDER, resume=False)
    for state in StudyState:
        tables.add(row(state.value, state), [])
    tables.close()
    again = BatchTables.open(tmp_path / "out", ORDER, resume=True)
    again.close()
    assert again.rows.keys() == {"answered", "refused"}


def test_a_value_is_no_formula_of_a_spreadsheet(tmp_path: Path) -> None:
    tables = BatchTables.open(tmp_path / "out", ORDER, resume=False)
    tables.add(row("a", findings=2), [FindingLine("label", "=cmd()", "-3.5"), FindingLine("label", "-x", "@y")])
    tables.close()
    assert [line[2:4] for line in lines(tmp_path / "out" / FINDINGS)] == [["'=cmd()", "-3.5"], ["'-x", "'@y"]]


@pytest.mark.parametrize("change", [{"model": "/other"}, {"parameters": {"a": "1"}}])
def test_another_order_does_not_go_on(tmp_path: Path, change: dict[str, object]) -> None:
    BatchTables.open(tmp_path / "out", ORDER, resume=False).close()
    with pytest.raises(OtherBatch, match=next(iter(change))):
        BatchTables.open(tmp_path / "out", ORDER | change, resume=True)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OtherBatch, match="other files"):
        BatchTables.open(tmp_path, ORDER, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_has_one_batch_at_a_time(tmp_path: Path) -> None:
    tables = BatchTables.open(tmp_path / "out", ORDER, resume=False)
    with pytest.raises(OtherBatch, match="is writing to"):
        BatchTables.open(tmp_path / "out", ORDER, resume=True)
    tables.add(row("a"), [])
    tables.close()
    again = BatchTables.open(tmp_path / "out", ORDER, resume=True)
    again.close()
    assert again.rows.keys() == {"a"}
