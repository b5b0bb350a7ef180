"""Requirements of a model on a series: one plain sentence for each that is not met.

A sentence says what is needed and what was found. Of what was found it tells counts, millimetres and the standard's own
modality codes; a description is free text, which may hold a name, and is never quoted.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.contract.brief import Brief
from gateway.dicom.reading.classify import contents
from gateway.dicom.reading.geometry import EVEN_MM, EVEN_RATIO, slice_gaps
from gateway.dicom.volumes.belonging import images_among
from gateway.dicom.volumes.study import Series
from gateway.errors import StudyRefused

Choice = str | re.Pattern[str] | Callable[[Sequence[Series]], Series]
"""How one series is taken from several that fit: the longest (``"most slices"``), the one whose description matches a
pattern, or the one that a function of them returns."""

MOST_SLICES = "most slices"
LONGEST_DESCRIPTION = 64
"""Characters of a description that are looked at: the standard allows no more (LO, PS3.5 6.2)."""

UNKNOWN = "images of no known modality"
MODALITIES = {
    *("AR", "AU", "BI", "BMD", "CR", "CT", "DG", "DX", "ECG", "EPS", "ES", "GM", "IO", "IVOCT", "IVUS", "KER", "KO"),
    *("LEN", "LS", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPV", "OSS", "OT", "PR", "PT", "PX", "REG"),
    *("RF", "RG", "RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT", "RWV", "SEG", "SM", "SMR", "SR", "TG", "US"),
    *("VA", "XA", "XC"),
}
"""Defined terms of PS3.3 C.7.3.1.1.1. A header may hold anything else, and that is not repeated to anyone."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Requires(Brief):
    """The requirements of a model on each of its series.

    ``modality`` is one code or several. ``description`` is a regular expression, in any case, that the series'
    description must hold, such as that of a contrast phase; ``described_as`` says it in words for the user.
    ``uniform_spacing`` asks for slices at even distances, 1 % of it apart at most.
    ``spacing_tolerance`` is how far, in steps, a slice of a Volume may lie from the even grid; where it is unset, a
    tenth and at most 0.3 mm. ``uneven`` takes a Volume of any steps, for models that need no even grid.
    ``allow_tilt`` takes series of a tilted gantry, whose volume is sheared.
    ``min_series`` and ``max_series`` bound how many series of the study may fit. ``choose`` says which one to take when
    more fit than the model takes; without it such a study is refused. What ``recommended`` asks for and does not hold
    is told beside the answer.
    """

    _shown = frozenset({"modality", "description"})

    modality: str | Sequence[str] | None = None
    min_slices: int = 1
    uniform_spacing: bool = False
    description: str | re.Pattern[str] | None = None
    described_as: str = ""
    allow_tilt: bool = False
    spacing_tolerance: float | None = None
    uneven: bool = False
    min_series: int = 1
    max_series: int | None = None
    choose: Choice | None = None
    recommended: "Requires | None" = None

    def __post_init__(self) -> None:
        """Raise re.error for a broken pattern here rather than at a request."""
        for pattern in (self.description, self.choose):
            if isinstance(pattern, str):
                re.compile(pattern)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The codes of ``modality``; none where any will do."""
        return (self.modality,) if isinstance(self.modality, str) else tuple(self.modality or ())

    @property
    def allowances(self) -> dict[str, Any]:
        """What a Volume may be beside upright and even, as arguments of ``Series.volume``."""
        return {
            "allow_tilt": self.allow_tilt,
            "spacing_tolerance": self.spacing_tolerance,
            "uneven": self.uneven,
        }

    def conditions(self) -> "Iterator[Condition]":
        """Each thing that is asked of a series."""
        if self.modality is not None:
            yield _modality(self.modalities)
        if self.min_slices > 1:
            yield _slices(self.min_slices)
        if self.uniform_spacing:
            yield _spacing()
        if self.description is not None:
            yield _description(self.description, self.described_as)


@dataclass(frozen=True)
class Condition:
    """A condition on a series. ``found`` describes the series' own value."""

    needed: str
    met: Callable[[Series], bool]
    found: Callable[[Sequence[Series]], str]


def fitting(study: Sequence[Series], requires: Requires, *, of_pixels: bool = True) -> list[Series]:
    """The series that meet every condition, those with images alone for an argument ``of_pixels``.

    Raises StudyRefused with a sentence for each reason where there are too few.
    """
    series = [one for one in study if not of_pixels or has_pixels(one, requires)]
    if not series:
        raise StudyRefused(_absence(study, of_pixels), private="no images")
    conditions = list(requires.conditions())
    found = [one for one in series if all(condition.met(one) for condition in conditions)]
    reasons = [] if found else list(_reasons(series, conditions))
    if found and len(found) < requires.min_series:
        reasons = [f"This model needs at least {requires.min_series} series that fit; the study holds {len(found)}."]
    if requires.max_series is not None and len(found) > requires.max_series:
        reasons = [f"This model takes at most {_count(requires.max_series)}; the study holds {len(found)} that fit."]
    if reasons:
        raise StudyRefused(" ".join(reasons), private="the requirements of the model", reasons=reasons)
    return found


def choose(series: Sequence[Series], rule: Choice | None) -> Series:
    """Choose one of the series that match. Raises StudyRefused where the rule leaves several, or none."""
    if len(series) == 1:
        return series[0]
    if callable(rule):
        return rule(series)
    if rule is None:
        raise StudyRefused(
            f"This model takes one series; the study holds {len(series)} that fit. Send the one to use.",
            private="several series",
        )
    if rule == MOST_SLICES:
        longest = max(map(slices, series))
        left, kind = [one for one in series if slices(one) == longest], f"have the most slices, {longest} each"
    else:
        left, kind = [one for one in series if _matches(rule, one)], "have the description that this model looks for"
    if len(left) == 1:
        return left[0]
    raise StudyRefused(
        f"Of {len(series)} series that fit, {len(left)} {kind}. Send the one to use.", private="several series"
    )


def has_pixels(series: Series, requires: Requires) -> bool:
    """Return True if a series holds images; a segmentation counts only for a model that asks for it."""
    return bool(slices(series)) and (series.modality != "SEG" or "SEG" in requires.modalities)


def _absence(study: Sequence[Series], of_pixels: bool) -> str:
    """A sentence on a request without what a model needs. Raises StudyRefused for an image without a size."""
    if not study:
        needed, absent = ("images", "DICOM image") if of_pixels else ("DICOM instances", "DICOM instance")
        return f"This model needs {needed}; the request holds no {absent}."
    instances = [instance for series in study for instance in series.instances]
    images_among(instances)
    return f"This model needs images; the request holds no DICOM image, but {contents(instances)}. Send the images."


def slices(series: Series) -> int:
    """Images of a series, the frames of each instance counted."""
    return sum(instance.frames for instance in series.instances)


def _reasons(series: Sequence[Series], conditions: Sequence[Condition]) -> Iterator[str]:
    unmet = [condition for condition in conditions if not any(map(condition.met, series))]
    for condition in unmet:
        yield f"This model needs {condition.needed}; {condition.found(series)}."
    if not unmet:
        needed = " and ".join(condition.needed for condition in conditions)
        yield f"This model needs {needed} in one series; each is found, but none of the {len(series)} series has all."


def _modality(wanted: tuple[str, ...]) -> Condition:
    def found(series: Sequence[Series]) -> str:
        known = {one.modality if one.modality in MODALITIES else UNKNOWN for one in series}
        return f"the study holds {', '.join(sorted(known))}"

    return Condition(" or ".join(wanted), lambda one: one.modality in wanted, found)


def _slices(least: int) -> Condition:
    def found(series: Sequence[Series]) -> str:
        most = max(map(slices, series))
        return f"the series has {most}" if len(series) == 1 else f"the longest of {len(series)} has {most}"

    return Condition(f"a series of at least {least} slices", lambda one: slices(one) >= least, found)


def _spacing() -> Condition:
    def found(series: Sequence[Series]) -> str:
        return _unevenness(series[0]) if len(series) == 1 else f"none of the {len(series)} series has them"

    return Condition("evenly spaced slices", lambda one: not _unevenness(one), found)


def _unevenness(series: Series) -> str:
    """The spacing of a series' slices in words, "" where they are even."""
    stack = [one for one in series.instances if one.frames and one.time_point == 0]
    if len(stack) < 2:
        return ""
    try:
        gaps = slice_gaps(stack)
    except StudyRefused:
        return "the position of an image in the patient is missing, or the images are not parallel"
    if gaps.max() - gaps.min() <= max(EVEN_MM, EVEN_RATIO * float(abs(gaps).max())) and gaps.min() > 0:
        return ""
    return f"from one to the next it is {abs(gaps).min():.2f} to {abs(gaps).max():.2f} mm"


def _description(pattern: str | re.Pattern[str], words: str) -> Condition:
    needed = words or f"a series described as {pattern if isinstance(pattern, str) else pattern.pattern}"

    def found(series: Sequence[Series]) -> str:
        if len(series) == 1:
            return "the description of the series does not say so"
        return f"none of the {len(series)} series is described so"

    return Condition(needed, lambda one: _matches(pattern, one), found)


def _matches(pattern: Any, series: Series) -> bool:
    """Return True if each description that the images of a series state matches."""
    flags = 0 if isinstance(pattern, re.Pattern) else re.IGNORECASE
    return all(re.search(pattern, one[:LONGEST_DESCRIPTION], flags) is not None for one in series.descriptions)


def _count(number: int) -> str:
    return "one series" if number == 1 else f"{number} series"
