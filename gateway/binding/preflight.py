"""Preflight: which models accept a study, and the reasons of a refusal, in the sentences of the model's own refusal."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gateway.binding.bound_request import DICOM_OUTPUT, JSON_OUTPUT, read_arguments
from gateway.binding.declaration import Declaration, Input
from gateway.binding.inputs import Inputs
from gateway.binding.requirements import fitting
from gateway.binding.source_identity import require_uids
from gateway.binding.typed_model import TypedModel
from gateway.contract.model import Model
from gateway.contract.requests import MODALITY, Request
from gateway.dicom.reading.files import Source
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.study import Image, Series, Volume, split
from gateway.errors import ParameterRefused, StudyRefused


@dataclass(frozen=True)
class Acceptance:
    """The reasons of a refusal; without reasons the study is accepted."""

    reasons: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Return True if there is no reason against it."""
        return not self.reasons


@dataclass(frozen=True)
class ModelAcceptance:
    """The acceptance of a whole request by one model, and of each of its series by UID."""

    model: str
    request: Acceptance
    series: dict[str, Acceptance]


def preflight(
    models: Mapping[str, Model],
    files: Iterable[Source | Instance],
    output: str = JSON_OUTPUT,
    modality: str | None = None,
) -> list[ModelAcceptance]:
    """Ask each typed model of ``models``, by route, whether it would answer in the form ``output``.

    ``modality`` is what the request states of its NIfTI files. The files may be cut off before their pixels.
    Raises StudyRefused for a header that cannot be read, or instances of several studies.
    """
    instances, attachments = split(files)
    read: list[Any] = [*instances, *attachments]  # headers are read once, not once for each model
    series = Inputs(Request({}, read, "")).study.series
    words = {} if modality is None else {MODALITY: modality}
    return [
        ModelAcceptance(
            route,
            _judged(partial(read_arguments, Inputs(Request(words, read, "")), model.declaration, output)),
            {each.series_instance_uid: _of_series(model.declaration, each, output) for each in series},
        )
        for route, model in models.items()
        if isinstance(model, TypedModel)
    ]


def _of_series(declaration: Declaration, series: Series, output: str) -> Acceptance:
    """The acceptance of a series by any of the arguments: all reasons where none accepts it, each once."""
    arguments = [argument for argument in declaration.inputs if argument.of_images]
    verdicts = [_judged(partial(_fit, argument, series)) for argument in arguments]
    if any(verdict.accepted for verdict in verdicts):
        return _judged(partial(require_uids, series.instances, declaration, dicom=output == DICOM_OUTPUT))
    reasons = dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons)
    return Acceptance(tuple(reasons) or ("This model takes no images.",))


def _fit(declared: Input, series: Series) -> None:
    requires = replace(declared.requires, min_series=1, max_series=None)
    fitting([series], requires, of_pixels=declared.type in (Volume, Image))
    if declared.type is Volume:
        series.volume(**declared.requires.allowances)


def _judged(ask: Callable[[], object]) -> Acceptance:
    try:
        ask()
    except (ParameterRefused, StudyRefused) as refusal:
        reasons = refusal.members.get("reasons")
        return Acceptance(tuple(reasons) if reasons else (refusal.detail,))
    return Acceptance()
