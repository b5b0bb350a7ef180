"""The scope of a search, and the numbers of series and instances in what it finds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, func, select

from gateway.dicom.web.json_model import JsonModel
from gateway.dicom.web.query_attributes import QueryLevel
from gateway.studies.query.query_rows import SERIES, SOP, STUDY
from gateway.studies.query.query_tables import dicom_counts, dicom_instances, dicom_series


class Scope(NamedTuple):
    """The callers whose rows count, the first of them first, and the moment since which they count."""

    owners: tuple[str, ...]
    since: float

    def rows(self, table: Table) -> ColumnElement[bool]:
        """Rows of any of the owners that are not too old."""
        return and_(table.c.caller.in_(self.owners), table.c.held_at >= self.since)

    def own(self, table: Table, keys: tuple[str, ...], place: int) -> ColumnElement[bool]:
        """Rows of the owner at a ``place``, but for what an owner before it has too."""
        recent = table.c.held_at >= self.since
        mine = and_(table.c.caller == self.owners[place], recent)
        if not place:
            return mine
        earlier = table.alias()
        theirs = earlier.c.caller.in_(self.owners[:place]), earlier.c.held_at >= self.since
        return and_(
            mine, ~select(earlier.c.caller).where(*theirs, *(earlier.c[key] == table.c[key] for key in keys)).exists()
        )


class Counts:
    """The numbers of series and instances, and the modalities, of the studies of a page."""

    def __init__(self, connection: Connection, scope: Scope, level: QueryLevel, studies: Sequence[str]) -> None:
        self.series: dict[str, dict[str, int]] = {}
        self.modalities: dict[str, set[str]] = {}
        self._connection, self._scope = connection, scope
        if level == QueryLevel.INSTANCE or not studies:
            return
        self._add_counted(set(studies))
        if level == QueryLevel.STUDY:
            self._add_modalities(studies)

    def _add_counted(self, studies: set[str]) -> None:
        """Take the kept numbers, and count where they do not hold: series of several owners, and instances too old."""
        kept = dicom_counts.c
        columns = kept[STUDY], kept[SERIES], kept.instances, kept.oldest_at
        wanted = select(*columns).where(
            kept.caller.in_(self._scope.owners), kept[STUDY].in_(studies), kept.instances > 0
        )
        uncounted = set[str]()
        for study, series, number, oldest in self._connection.execute(wanted):
            of_study = self.series.setdefault(study, {})
            if series in of_study or oldest < self._scope.since:
                uncounted.add(study)
            of_study[series] = number
        if uncounted:
            self._count(uncounted)

    def _count(self, studies: set[str]) -> None:
        uids = dicom_instances.c[STUDY], dicom_instances.c[SERIES]
        numbers = select(*uids, func.count(dicom_instances.c[SOP].distinct())).group_by(*uids)
        for study in studies:
            self.series.pop(study)
        for study, series, number in self._connection.execute(
            numbers.where(self._scope.rows(dicom_instances), uids[0].in_(studies))
        ):
            self.series.setdefault(study, {})[series] = number

    def _add_modalities(self, studies: Sequence[str]) -> None:
        columns = dicom_series.c[STUDY], dicom_series.c.modality
        wanted = select(*columns).where(self._scope.rows(dicom_series), columns[0].in_(set(studies))).distinct()
        for study, modality in self._connection.execute(wanted):
            self.modalities.setdefault(study, set()).add(modality)

    def model(self, level: QueryLevel, uids: tuple[str, ...]) -> JsonModel:
        """Return the attributes that are counted, for a study or a series."""
        if level == QueryLevel.INSTANCE:
            return {}
        if level == QueryLevel.SERIES:
            return {"00201209": _integer(self.series.get(uids[0], {}).get(uids[1], 0))}
        numbers = self.series.get(uids[0], {}).values()
        modalities = sorted(self.modalities.get(uids[0], set()) - {""})
        return {
            **({"00080061": {"vr": "CS", "Value": modalities}} if modalities else {}),
            "00201206": _integer(len(numbers)),
            "00201208": _integer(sum(numbers)),
        }


def _integer(number: int) -> dict[str, Any]:
    return {"vr": "IS", "Value": [number]}
