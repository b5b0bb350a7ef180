"""Requirements of a model on a series of which only its sender's word is known: a tensor, a NIfTI file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gateway.binding.requirements import MODALITIES, UNKNOWN, Requires
from gateway.contract.findings import Conformance
from gateway.errors import StudyRefused


class _Condition(NamedTuple):
    needed: str
    met: bool
    found: str


@dataclass(frozen=True)
class StatedSeries:
    """What stands for a series: ``name`` is its kind, such as ``the tensor``, and ``ask`` how to state the modality.

    Its slices are evenly spaced.
    """

    name: str
    modality: str | None
    slices: int
    ask: str

    def conformance(self, requires: Requires) -> list[Conformance]:
        """Return which recommended conditions hold. Raises StudyRefused, with a sentence for each that is required."""
        unmet = [f"{one.needed}; {one.found}" for one in self._conditions(requires) if not one.met]
        if unmet:
            reasons = [f"This model needs {one}." for one in unmet]
            raise StudyRefused(" ".join(reasons), private="the requirements of the model", reasons=reasons)
        recommended = requires.recommended or Requires()
        return [Conformance(one.needed, one.met) for one in self._conditions(recommended)]

    def _conditions(self, requires: Requires) -> Iterator[_Condition]:
        """Each condition of a series that can be asked of what is stated."""
        if wanted := requires.modalities:
            known = self.modality if self.modality in MODALITIES else UNKNOWN
            unstated = f"the request does not state the modality: {self.ask}"
            found = unstated if self.modality is None else f"{self.name} is stated to be {known}"
            yield _Condition(" or ".join(wanted), self.modality in wanted, found)
        if requires.min_slices > 1:
            met = self.slices >= requires.min_slices
            found = f"{self.name} has {self.slices}"
            yield _Condition(f"a series of at least {requires.min_slices} slices", met, found)
        if requires.description is not None:
            needed = requires.described_as or "a series whose description it knows"
            kind = self.name.removeprefix("the ")
            yield _Condition(needed, False, f"a {kind} has no description: send the study as DICOM files")
