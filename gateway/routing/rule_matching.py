"""Whether a rule takes a study: who sent it, and which of its series meet the rule's conditions.

Which series a model needs is the model's own declaration; a rule only chooses what the model receives.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, Protocol, TypeVar

from gateway.dicom.reading.keywords import read_texts
from gateway.errors import LimitExceeded, StudyRefused
from gateway.routing.rules import AttributeMatch, Rule, Sources


class Identified(Protocol):
    """An instance, as a header or a row of the index has it."""

    @property
    def sop_instance_uid(self) -> str:
        """Its SOP Instance UID."""

    @property
    def series_instance_uid(self) -> str:
        """That of its series."""


One = TypeVar("One", bound=Identified)


@dataclass(frozen=True)
class StudySender:
    """Who sent a study: the caller that owns it, "" for an anonymous one, and the AE titles, none over HTTP."""

    caller: str
    titles: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeriesTexts:
    """A series: its UID, and the values of the attributes that rules name, by keyword."""

    uid: str
    texts: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class RuleVerdict:
    """Whether a rule takes a study: the UIDs of the series for its model, or the ``reason`` why it does not.

    The reason quotes the rule alone, and nothing of the study.
    """

    rule: Rule
    series: tuple[str, ...] = ()
    reason: str = ""

    @property
    def taken(self) -> bool:
        """Return True if the rule takes the study."""
        return not self.reason


def representatives(instances: Iterable[One]) -> list[One]:
    """Return one instance of each series, the same in whatever order they arrived: most often the first image."""
    found: dict[str, One] = {}
    for one in instances:
        known = found.setdefault(one.series_instance_uid, one)
        if _place(one) < _place(known):
            found[one.series_instance_uid] = one
    return list(found.values())


def _place(one: Identified) -> tuple[int, str]:
    return len(one.sop_instance_uid), one.sop_instance_uid


def read_series(files: Iterable[BinaryIO], rules: Iterable[Rule]) -> list[SeriesTexts]:
    """Return each series by the file of its representative; one whose header cannot be read is no series of a rule."""
    keywords, found = keywords_of(rules), []
    for file in files:
        with suppress(StudyRefused, LimitExceeded):
            found.append(SeriesTexts(*read_texts(file, keywords)))
    return found


def keywords_of(rules: Iterable[Rule]) -> set[str]:
    """Return the keywords that rules name."""
    return {one.keyword for rule in rules for one in rule.match}


def verdict(rule: Rule, sender: StudySender | None, series: Sequence[SeriesTexts]) -> RuleVerdict:
    """Return whether a rule takes a study of these series; without a ``sender``, from any."""
    if sender is not None and not is_from(sender, rule.sources):
        return RuleVerdict(rule, reason="It takes studies of other senders.")
    chosen = tuple(one.uid for one in series if all(_meets(one, condition) for condition in rule.match))
    return RuleVerdict(rule, chosen) if chosen else RuleVerdict(rule, reason=_reason(rule.match, series))


def is_from(sender: StudySender, sources: Sources) -> bool:
    """Return True if a sender is one of the sources."""
    titles = any(_like(pattern, title) for pattern in sources.titles for title in sender.titles)
    return titles or any(_like(pattern, sender.caller) for pattern in sources.callers)


def _meets(series: SeriesTexts, condition: AttributeMatch) -> bool:
    found = series.texts.get(condition.keyword, ("",))
    return any(_like(pattern, one, fold=True) for pattern in condition.values for one in found)


def _like(pattern: str, text: str, *, fold: bool = False) -> bool:
    """Compare a text with wildcards (PS3.4 C.2.2.2.4), which never take long: no pattern backtracks into another."""
    return _compiled(pattern, fold).fullmatch(text) is not None


@cache
def _compiled(pattern: str, fold: bool) -> re.Pattern[str]:
    """Compile a pattern of the operator's file; each ``*`` but the last takes the shortest text that fits, for good."""
    first, *rest = (_one(part) for part in re.split(r"\*+", pattern))
    body = first + "".join(f"(?>.*?{part})" for part in rest[:-1]) + (f".*{rest[-1]}" if rest else "")
    return re.compile(body, re.DOTALL | (re.IGNORECASE if fold else 0))


def _one(part: str) -> str:
    return "".join("." if mark == "?" else re.escape(mark) for mark in part)


def _reason(conditions: Collection[AttributeMatch], series: Sequence[SeriesTexts]) -> str:
    if not series:
        return "The study has no series that can be read."
    unmet = [one for one in conditions if not any(_meets(each, one) for each in series)]
    if unmet:
        return " ".join(f"None of {len(series)} series has {_words(one)}." for one in unmet)
    needed = " and ".join(map(_words, conditions))
    return f"Each is found, but none of {len(series)} series has {needed} together."


def _words(condition: AttributeMatch) -> str:
    return f"{condition.keyword} {' or '.join(map(repr, condition.values))}"
