"""The scope of a search, and the numbers of series and instances in what it finds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, func, or_, select

from gateway.dicom.web.json_model import JsonModel
from gateway.dicom.web.query_attributes import QueryLevel
from gateway.studies.query.query_rows import SERIES, SOP, STUDY
from gateway.studies.query.query_tables import dicom_instances, dicom_series


class Scope(NamedTuple):
    """The callers whose rows count, the first of them first, and the moment since which they count."""

    owners: tuple[str, ...]
    since: float

    def rows(self, table: Table) -> ColumnElement[bool]:
        """Rows of any of the owners that are not too old."""
        return and_(table.c.caller.in_(self.owners), table.c.held_at >= self.since)

    def own(self, table: Table, keys: tuple[str, ...]) -> ColumnElement[bool]:
        """The same, but each thing once: that of the first owner who has it."""
        earlier = table.alias()
        ranked = []
        for place, owner in enumerate(self.owners):
            theirs = [earlier.c.caller.in_(self.owners[:place]), earlier.c.held_at >= self.since]
            same = (earlier.c[key] == table.c[key] for key in keys)
            hidden = [~select(earlier.c.caller).where(*theirs, *same).exists()] if place else []
            ranked.append(and_(table.c.caller == owner, *hidden))
        return and_(or_(*ranked), table.c.held_at >= self.since)


class Counts:
    """The numbers of series and instances, and the modalities, of the studies of a page."""

    def __init__(self, connection: Connection, scope: Scope, level: QueryLevel, studies: Sequence[str]) -> None:
        self.series: dict[str, dict[str, int]] = {}
        self.modalities: dict[str, set[str]] = {}
        if level == QueryLevel.INSTANCE or not studies:
            return
        sop, uids = dicom_instances.c[SOP], [dicom_instances.c[name] for name in (STUDY, SERIES)]
        count = func.count() if len(scope.owners) == 1 else func.count(sop.distinct())
        of_page = uids[0].in_(set(studies))
        statement = select(*uids, count).where(scope.rows(dicom_instances), of_page).group_by(*uids)
        for row in connection.execute(statement):
            study, series, number = row[0], row[1], row[2]
            self.series.setdefault(study, {})[series] = number
        if level == QueryLevel.STUDY:
            self._add_modalities(connection, scope, studies)

    def _add_modalities(self, connection: Connection, scope: Scope, studies: Sequence[str]) -> None:
        columns = dicom_series.c[STUDY], dicom_series.c.modality
        wanted = select(*columns).where(scope.rows(dicom_series), columns[0].in_(set(studies))).distinct()
        for study, modality in connection.execute(wanted):
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
