"""Rules of routing: which studies go to which model, when a study is complete, and where the results go.

Frozen values, as the operator's file has them once it is checked (``rules_file``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Notice = Literal["none", "sr", "capture"]
"""The object that tells a reader that a study was not analysed: none, a text SR, or a Secondary Capture."""
NOTICES: tuple[Notice, ...] = get_args(Notice)

QUIET_SECONDS, CEILING_SECONDS = 60.0, 3_600.0
"""Defaults. A modality pauses for seconds between series, and a study that never falls quiet is analysed in an hour."""
RETRIES, RETRY_SECONDS = 2, 60.0
"""Defaults: what fails three times, a minute apart, needs a person."""


@dataclass(frozen=True)
class Sources:
    """Where studies come from: any of these AE titles or of these callers; ``*`` and ``?`` are wildcards.

    ``titles`` are the AE titles that called, ``callers`` the callers that own the study.
    """

    titles: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttributeMatch:
    """A condition on an attribute of a series: its DICOM keyword, and the values of which one must match.

    ``*`` and ``?`` are wildcards (PS3.4 C.2.2.2.4), and case does not count. An absent attribute has the value "".
    """

    keyword: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Completeness:
    """When a study is complete: at the first of these, which is never before its first instance.

    ``quiet_seconds`` have passed since its latest instance, or ``ceiling_seconds`` since its first; with
    ``association_end``, the association that sent it is over; ``count_from`` names a peer that states the number of its
    instances (NumberOfStudyRelatedInstances, by QIDO-RS or C-FIND), and all of them are here.
    """

    quiet_seconds: float = QUIET_SECONDS
    ceiling_seconds: float = CEILING_SECONDS
    association_end: bool = False
    count_from: str = ""


@dataclass(frozen=True)
class Rule:
    """A rule. ``name`` identifies it across restarts, and ``model`` is the route of a model.

    ``caller`` owns the runs and the results, "" for the caller that owns the study. One series at least must meet all
    of ``match``; the model receives the series that do. ``parameters`` are the JSON of the request. ``destinations``
    are names of peers. A run that fails is retried ``retries`` times, ``retry_seconds`` apart; a refusal is not.
    """

    name: str
    model: str
    sources: Sources
    match: tuple[AttributeMatch, ...] = ()
    caller: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    completeness: Completeness = Completeness()
    destinations: tuple[str, ...] = ()
    notice: Notice = "none"
    retries: int = RETRIES
    retry_seconds: float = RETRY_SECONDS
