"""What a search costs, in rows of PostgreSQL and in steps of SQLite: bounded by its limit, however much is stored."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, select, text

from benchmarks import synthetic_index
from gateway.dicom.web.query_attributes import QueryLevel
from gateway.studies.forgetting import forget
from gateway.studies.query import query_rows
from gateway.studies.query.query_parameters import read_query
from gateway.studies.query.query_tables import dicom_counts, dicom_instances
from gateway.studies.query.searching import search
from gateway.studies.store import Store
from tests.studies.conftest import Clock, OpenStore
from tests.studies.files import file, files, upload

STUDIES, EACH = 100, 20
CT = "1.2.840.10008.5.1.4.1.1.2"


def cost(store: Store, level: QueryLevel, owners: tuple[str, ...] = ("",), **terms: str) -> int:
    """Search, and return the work of its statements."""
    spent: list[int] = []

    def count(connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith(("SELECT", "WITH")) or "set_config" in statement:
            return
        driver: Any = connection.connection.driver_connection
        if store.index.is_sqlite:
            steps: list[int] = []
            driver.set_progress_handler(lambda: steps.append(1), 1)
            driver.execute(statement, parameters).fetchall()
            driver.set_progress_handler(None, 0)
            spent.append(len(steps))
        else:
            ((plan,),) = driver.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).fetchall()
            spent.append(_rows((plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]))

    event.listen(Engine, "before_cursor_execute", count)
    try:
        search(store, owners, read_query(level, terms.items()))
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    return sum(spent)


def _rows(plan: dict[str, Any]) -> int:
    """Rows that a node and those below it have read, whether they were left out or not."""
    removed = sum(plan.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Join Filter", "Index Recheck"))
    return int((plan["Actual Rows"] + removed) * plan["Actual Loops"]) + sum(map(_rows, plan.get("Plans", [])))


RARE: list[tuple[QueryLevel, dict[str, str]]] = [
    (QueryLevel.INSTANCE, {"SOPClassUID": "1.2.3"}),
    (QueryLevel.INSTANCE, {"InstanceNumber": "999"}),
    (QueryLevel.INSTANCE, {"PatientID": "P7"}),
]
COMMON: list[tuple[QueryLevel, dict[str, str]]] = [
    (QueryLevel.INSTANCE, {"SOPClassUID": CT}),
    (QueryLevel.INSTANCE, {"InstanceNumber": "7"}),
    (QueryLevel.INSTANCE, {"Modality": "CT"}),
    (QueryLevel.SERIES, {"Modality": "CT"}),
    (QueryLevel.INSTANCE, {}),
    (QueryLevel.STUDY, {}),
    (QueryLevel.STUDY, {"StudyDate": "20150101-"}),
    (QueryLevel.STUDY, {"ModalitiesInStudy": "CT"}),
]
"""What most match; PostgreSQL reads a table whole until that is more than a few pages."""


@pytest.mark.parametrize("owners", [("",), ("viewer", "")])
def test_four_times_the_studies_cost_no_more(open_store: OpenStore, owners: tuple[str, ...]) -> None:
    store, costs = open_store(dicomweb=True), list[list[int]]()
    cases = [*RARE, *(COMMON if store.index.is_sqlite else ())]
    for studies in (STUDIES, 4 * STUDIES):
        with store.index.writing() as connection:
            query_rows.clear(connection)
            for table in ("holdings", "instances"):
                connection.execute(text(f"DELETE FROM {table}"))
            synthetic_index.fill(connection, studies, EACH, store.clock())
        costs.append([cost(store, level, owners, limit="20", **terms) for level, terms in cases])
    grown = {str(case): pair for case, *pair in zip(cases, *costs, strict=True) if pair[1] > 1.3 * pair[0] + 100}
    assert not grown


def test_no_match_among_series_costs_less_than_the_instances_are(open_store: OpenStore) -> None:
    store = open_store(dicomweb=True)
    with store.index.writing() as connection:
        synthetic_index.fill(connection, STUDIES, 4 * EACH, store.clock())
    small = cost(store, QueryLevel.SERIES, Modality="XX")
    for terms in (
        {"Modality": "XX"},
        {"StudyDate": "19000101"},
        {"SeriesNumber": "99"},
        {"SOPClassUID": CT, "Modality": "XX"},
    ):
        assert cost(store, QueryLevel.INSTANCE, **terms) < 3 * small + 100, terms


def kept(store: Store) -> dict[tuple[str, str], int]:
    columns = dicom_counts.c.caller, dicom_counts.c.series_instance_uid, dicom_counts.c.instances
    with store.index.reading() as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(select(*columns))}


def test_each_way_in_and_out_of_the_tables_is_counted(open_store: OpenStore) -> None:
    store = open_store(dicomweb=True)
    sent = files(3)
    series = sent[0].entry.series_instance_uid
    upload(store, "one", sent)
    upload(store, "one", sent)  # once more
    upload(store, "other", sent[:2])
    assert kept(store) == {("one", series): 3, ("other", series): 2}
    forget(store, sent[0].entry.study_instance_uid, "one")
    assert kept(store) == {("other", series): 2}
    upload(store, "other", [file("one", note="other")], "replace")
    assert sum(kept(store).values()) == number_of_rows(store)


def number_of_rows(store: Store) -> int:
    with store.index.reading() as connection:
        return len(connection.execute(select(dicom_instances.c.sha256)).all())


def numbers(store: Store, *owners: str) -> list[Any]:
    return [
        match.model["00201208"]["Value"][0] for match in search(store, owners, read_query(QueryLevel.STUDY, [])).matches
    ]


def test_instances_that_are_too_old_do_not_count_though_others_of_their_series_do(
    open_store: OpenStore, clock: Clock
) -> None:
    store = open_store(dicomweb=True)
    age = store.settings.store_max_age
    sent = files(3, study="aging")
    upload(store, "one", sent[:1])
    clock.now += age / 2
    upload(store, "one", sent[1:])
    assert numbers(store, "one") == [3]
    clock.now += age / 2 + 1
    assert numbers(store, "one") == [2]
    with store.index.writing() as connection:
        store.retention.tidy(connection)
    assert (numbers(store, "one"), list(kept(store).values())) == ([2], [2])
    with store.index.reading() as connection:
        (oldest,) = connection.execute(select(dicom_counts.c.oldest_at)).scalars()
    assert oldest >= store.retention.since


def test_emptied_tables_have_no_counts(open_store: OpenStore) -> None:
    store = open_store(dicomweb=True)
    upload(store, "one", files(2))
    with store.index.writing() as connection:
        query_rows.clear(connection)
    assert kept(store) == {}
