"""A study on disk against the rules: which would take it, and what their models say, before it is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.binding.bound_request import DICOM_OUTPUT
from gateway.binding.preflight import ModelAcceptance, preflight
from gateway.contract.model import Model
from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.keywords import texts
from gateway.errors import StudyRefused
from gateway.routing.rule_matching import RuleVerdict, SeriesTexts, StudySender, keywords_of, representatives, verdict
from gateway.routing.rules import Rule


@dataclass(frozen=True)
class Rehearsal:
    """What a rule would do with a study; ``model`` is the model's opinion, None where it is not asked."""

    verdict: RuleVerdict
    model: ModelAcceptance | None = None

    @property
    def analysed(self) -> bool:
        """Return True if the rule takes the study, and its model does not refuse it."""
        return self.verdict.taken and (self.model is None or self.model.request.accepted)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return why it would not be analysed, in the words of the rule or of the model."""
        if not self.verdict.taken:
            return (self.verdict.reason,)
        return () if self.model is None else self.model.request.reasons


def rehearse(
    rules: Sequence[Rule], study: Sequence[Instance], sender: StudySender | None, models: Mapping[str, Model]
) -> list[Rehearsal]:
    """Return what each rule would do with a study of ``sender``, None for any; models that are absent are not asked.

    Raises StudyRefused for instances of several studies, or none.
    """
    _require_one_study(study)
    keywords = keywords_of(rules)
    series = [
        SeriesTexts(one.series_instance_uid, {keyword: texts(one.header, keyword) for keyword in keywords})
        for one in representatives(study)
    ]
    return [_rehearsal(verdict(rule, sender, series), study, models) for rule in rules]


def _require_one_study(study: Sequence[Instance]) -> None:
    uids = {text(one.header, "StudyInstanceUID") for one in study}
    if len(uids) != 1:
        raise StudyRefused(f"The folder has {len(uids) or 'no'} studies; a rule takes one. Name the folder of one.")


def _rehearsal(found: RuleVerdict, study: Sequence[Instance], models: Mapping[str, Model]) -> Rehearsal:
    model = models.get(found.rule.model)
    if not found.taken or model is None:
        return Rehearsal(found)
    chosen = [one for one in study if one.series_instance_uid in found.series]
    (opinion,) = preflight({found.rule.model: model}, chosen, DICOM_OUTPUT)
    return Rehearsal(found, opinion)
