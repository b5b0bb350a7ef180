"""The tables of a batch: what became of each study, and every finding. A killed batch goes on from them."""

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Self

from gateway.batch.finding_rows import FindingLine
from gateway.batch.study_finder import FoundStudy
from gateway.errors import GatewayError

ORDER, STUDIES, FINDINGS = "batch.json", "studies.csv", "findings.csv"
"""What a batch was told to do, a row for each study, and a row for each finding."""
LOCK = ".batch.lock"
"""A file that a batch locks while it writes (flock(2)); the tables themselves are replaced when a batch goes on."""


class OtherBatch(GatewayError):
    """An output folder with other files, with those of another batch, or of one that runs."""


class StudyState(StrEnum):
    """What became of a study. A failed one is tried again when the batch goes on."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """A row of ``studies.csv``: ``folder`` has the results, ``reason`` says why there are none; times in seconds."""

    study: str
    state: StudyState
    reason: str = ""
    folder: str = ""
    files: int
    bytes: int
    findings: int = 0
    seconds: float = 0.0
    model_seconds: float = 0.0
    model: str = ""
    model_version: str = ""
    input_digest: str = ""
    output_digest: str = ""
    request_id: str = ""

    @classmethod
    def of(cls, words: Mapping[str, str]) -> Self:
        """Read a row. Raises KeyError, TypeError and ValueError for a broken one."""
        kinds: dict[str, Any] = {"files": int, "bytes": int, "findings": int, "seconds": float, "model_seconds": float}
        values = {each.name: kinds.get(each.name, str)(words[each.name]) for each in fields(cls)}
        return cls(**values | {"state": StudyState(words["state"])})

    def settles(self, study: FoundStudy) -> bool:
        """Return True if the row is of the study as it is now."""
        return (self.files, self.bytes) == (len(study.files), study.size)


STUDY_COLUMNS = tuple(each.name for each in fields(StudyRow))
FINDING_COLUMNS = ("study", *FindingLine._fields)


class BatchTables:
    """The tables in the output folder of a batch; each row is on the disk before the next study counts as done."""

    def __init__(self, out: Path, rows: Mapping[str, StudyRow], lock: ExitStack) -> None:
        self.out, self.rows, self._lock = out, dict(rows), lock
        self._files = {name: (out / name).open("a", encoding="utf-8", newline="") for name in (STUDIES, FINDINGS)}

    @classmethod
    def open(cls, out: Path, order: Mapping[str, Any], *, resume: bool, studies: Iterable[FoundStudy] = ()) -> Self:
        """Begin the tables in ``out``, or go on with those of the same ``order``, which is JSON.

        Rows that do not settle one of ``studies`` are removed: it runs again.
        Raises OtherBatch where the folder has other files or another order, a batch and ``resume`` is not set, or a
        batch that runs.
        """
        out.mkdir(parents=True, exist_ok=True)
        if not (out / ORDER).exists() and any(not path.name.startswith(".") for path in out.iterdir()):
            raise OtherBatch(f"{out} has other files: name an empty folder.")
        with ExitStack() as lock:
            _lock(lock.enter_context((out / LOCK).open("ab")), out)
            return cls(out, cls._rows(out, order, resume=resume, studies=studies), lock.pop_all())

    @staticmethod
    def _rows(
        out: Path, order: Mapping[str, Any], *, resume: bool, studies: Iterable[FoundStudy]
    ) -> dict[str, StudyRow]:
        file = out / ORDER
        if not file.exists():
            _replace(out / FINDINGS, _text([FINDING_COLUMNS]))
            _replace(out / STUDIES, _text([STUDY_COLUMNS]))
            _replace(file, json.dumps(order, indent=2) + "\n")
            return {}
        if not resume:
            raise OtherBatch(
                f"{out} has the results of a batch: add --resume to go on with it, or name another folder."
            )
        _require_same(file, order)
        return _recovered(out, {study.name: study for study in studies})

    def add(self, row: StudyRow, findings: Sequence[FindingLine]) -> None:
        """Add a study, its findings first: a study that is listed has all of them."""
        self._append(FINDINGS, [(row.study, *line) for line in findings])
        self._append(STUDIES, [tuple(asdict(row).values())])
        self.rows[row.study] = row

    def close(self) -> None:
        """Close the files, and let another batch go on in the folder."""
        for file in self._files.values():
            file.close()
        self._lock.close()

    def _append(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        file = self._files[name]
        file.write(_text(rows))
        file.flush()
        os.fsync(file.fileno())


def _lock(file: BinaryIO, out: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OtherBatch(f"A batch is writing to {out}: wait until it ends, or name another folder.") from None


def _require_same(file: Path, order: Mapping[str, Any]) -> None:
    try:
        before = json.loads(file.read_text("utf-8"))
    except ValueError:
        before = None
    if not isinstance(before, dict):
        raise OtherBatch(f"{file} is broken, so what the batch was told is not known: name another folder.")
    if different := sorted(name for name in {*before, *order} if before.get(name) != order.get(name)):
        raise OtherBatch(f"{file.parent} has a batch that differs in its {', '.join(different)}: name another folder.")


def _recovered(out: Path, studies: Mapping[str, FoundStudy]) -> dict[str, StudyRow]:
    """Return the rows that settle a study, and write the tables without others and what a killed batch left behind.

    The last row of a study counts; of findings those that belong to an answered study, once.
    """
    rows: dict[str, StudyRow] = {}
    for words in _read(out / STUDIES, STUDY_COLUMNS):
        try:
            row = StudyRow.of(words)
        except (KeyError, TypeError, ValueError):
            continue
        study = studies.get(row.study)
        rows.pop(row.study, None)
        if row.state is not StudyState.FAILED and (study is None or row.settles(study)):
            rows[row.study] = row
    answered = {study: row.findings for study, row in rows.items() if row.state is StudyState.ANSWERED}
    lines: dict[str, list[tuple[str, ...]]] = {study: [] for study in answered}
    for words in _read(out / FINDINGS, FINDING_COLUMNS):
        if words["study"] in lines:
            lines[words["study"]].append(tuple(words[name] for name in FINDING_COLUMNS))
    kept = [line for study, found in lines.items() for line in found[len(found) - answered[study] :]]
    _replace(out / FINDINGS, _text([FINDING_COLUMNS, *kept]))
    _replace(out / STUDIES, _text([STUDY_COLUMNS, *(tuple(asdict(row).values()) for row in rows.values())]))
    return rows


def _read(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the whole rows of a table. Text that is cut off within quotes ends it."""
    text = path.read_text("utf-8", "replace") if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    for row in csv.reader(io.StringIO(whole), strict=False):
        if len(row) == len(columns) and row != list(columns):
            yield dict(zip(columns, row, strict=True))


def _text(rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> str:
    """Return a value as one line of text that no spreadsheet takes for a formula."""
    text = f"{value:.3f}" if isinstance(value, float) else " ".join(str(value).split())
    number = text.lstrip("-").replace(".", "", 1).isdigit()
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and not number else text


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole, or leave it as it is."""
    fresh = path.with_name(f".{path.name}")
    with fresh.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
