"""A batch: studies in parallel through one model, each to its folder, and what became of all of them."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gateway.batch.batch_tables import BatchTables, StudyRow, StudyState
from gateway.batch.finding_rows import FindingLine, lines_of
from gateway.batch.study_finder import FoundStudy
from gateway.batch.study_inference import ModelNotStarted, StudyInference
from gateway.client.answer import Answer
from gateway.client.errors import ClientError
from gateway.client.parallel import in_parallel
from gateway.errors import GatewayError, ParameterRefused, RequestError
from gateway.observe.places import in_one_line

RESULTS = "results"
"""The folder of the studies' folders, beside the tables."""


@dataclass
class BatchTally:
    """What became of the studies of a batch; ``passed`` were done before it went on."""

    passed: int = 0
    states: Counter[StudyState] = field(default_factory=Counter)

    @property
    def whole(self) -> bool:
        """Return True if no study was refused and none failed."""
        return not (self.states[StudyState.REFUSED] or self.states[StudyState.FAILED])


def run_batch(
    studies: Sequence[FoundStudy],
    inference: StudyInference,
    tables: BatchTables,
    *,
    jobs: int,
    pictures: bool = False,
    report: Callable[[StudyRow | None], None] = lambda row: None,
) -> BatchTally:
    """Run each study that the tables do not settle, ``jobs`` at once; ``report`` receives each row, None for a settled.

    A study that is refused or fails is a row with its sentence. Raises ParameterRefused, since it concerns all studies,
    and OSError where results cannot be written.
    """
    tally, todo = BatchTally(), list[FoundStudy]()
    for study in studies:
        row = tables.rows.get(study.name)
        if row is not None:
            tally.passed += 1
            tally.states[row.state] += 1
            report(None)
        else:
            todo.append(study)
    work = partial(_one, inference=inference, out=tables.out / RESULTS, pictures=pictures)
    for row, findings in in_parallel(work, todo, jobs):
        tables.add(row, findings)
        tally.states[row.state] += 1
        report(row)
    return tally


def _one(
    study: FoundStudy, *, inference: StudyInference, out: Path, pictures: bool
) -> tuple[StudyRow, list[FindingLine]]:
    """Run one study; return its row and its findings."""
    began = time.perf_counter()
    facts: dict[str, Any] = {"study": study.name, "files": len(study.files), "bytes": study.size}
    try:
        with inference.answered(study) as (result, model_seconds):
            lines, folder = lines_of(result.answer, result.source), out / study.name
            result.save(folder)
            if pictures:
                result.to_png(folder)
            facts |= _facts(result.answer, study.name) | {"findings": len(lines), "model_seconds": model_seconds}
    except (ParameterRefused, ModelNotStarted):
        raise
    except Exception as error:
        state, reason = _verdict(error)
        return StudyRow(**facts, state=state, reason=reason, seconds=time.perf_counter() - began), []
    return StudyRow(**facts, state=StudyState.ANSWERED, seconds=time.perf_counter() - began), lines


def _facts(answer: Answer, name: str) -> dict[str, Any]:
    keys = ("model", "model_version", "input_digest", "output_digest", "request_id")
    return {"folder": f"{RESULTS}/{name}", **{key: getattr(answer, key) for key in keys}}


def _verdict(error: Exception) -> tuple[StudyState, str]:
    """Return what becomes of a study by an error. Raises OSError: the disk is not a study's fault."""
    match error:
        case OSError():
            raise error
        case RequestError() | ClientError():
            return StudyState.REFUSED, error.detail or type(error).__name__
        case GatewayError():
            return StudyState.FAILED, error.detail or error.title
        case _:
            return StudyState.FAILED, f"The model raised an exception: {in_one_line(error)}"
