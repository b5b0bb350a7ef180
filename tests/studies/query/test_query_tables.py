"""The tables of QIDO-RS on each database: filled with what is stored, and emptied with it."""

import io

import pydicom
import pytest
from sqlalchemy import func, select

from benchmarks import synthetic_index
from gateway.dicom.web.query_attributes import QueryLevel
from gateway.errors import QueryRefused
from gateway.studies.forgetting import forget
from gateway.studies.query import filling
from gateway.studies.query.query_parameters import read_query
from gateway.studies.query.query_tables import dicom_instances, dicom_series, dicom_studies
from gateway.studies.query.searching import search
from gateway.studies.store import Store
from gateway.studies.stow_upload import StowOutcome, StowUpload
from tests.endpoints.dicomweb.web import encoded
from tests.studies.conftest import Clock, OpenStore
from tests.studies.files import File, file, files, upload

TABLES = (dicom_studies, dicom_series, dicom_instances)


@pytest.fixture
def web(open_store: OpenStore) -> Store:
    """A store where DICOMweb is on."""
    return open_store(dicomweb=True)


def counts(store: Store) -> list[int]:
    with store.index.reading() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES]


def found(store: Store, level: QueryLevel = QueryLevel.STUDY, owners: tuple[str, ...] = ("one",), **terms: str) -> int:
    return len(search(store, owners, read_query(level, terms.items())).matches)


def stow(store: Store, caller: str, sent: list[File]) -> StowOutcome:
    with StowUpload(store, caller) as batch:
        for one in sent:
            batch.begin_part("")
            batch.write(one.data)
            batch.end()
        return batch.keep()


def named(name: str, **attributes: str) -> File:
    dataset = pydicom.dcmread(io.BytesIO(file("one", study=name).data))
    dataset.PatientName = name
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return File(file("one", study=name).entry, encoded(dataset))


def test_each_way_into_the_store_fills_the_tables(web: Store) -> None:
    upload(web, "one", files(2, study="uploaded"))
    stow(web, "one", files(3, study="stowed"))
    assert counts(web) == [2, 2, 5]
    assert found(web) == 2


def test_a_store_without_dicomweb_fills_nothing(store: Store) -> None:
    upload(store, "one", files(2))
    assert counts(store) == [0, 0, 0]


def test_what_was_stored_before_is_filled_in_and_emptied_again(open_store: OpenStore) -> None:
    upload(open_store(), "one", files(120))
    upload(open_store(), "other", files(1))
    web = open_store(dicomweb=True)
    assert filling.fill(web) == 121
    assert counts(web) == [2, 2, 121]
    assert filling.fill(web) == 0
    assert counts(open_store()) == [2, 2, 121]  # as opened by a program beside the server
    filling.empty(web)
    assert counts(web) == [0, 0, 0]


def test_the_rows_of_a_study_go_with_it(web: Store) -> None:
    sent = files(3)
    for caller in ("one", "other"):
        upload(web, caller, sent)
    forget(web, sent[0].entry.study_instance_uid, "one")
    assert counts(web) == [1, 1, 3]
    assert (found(web), found(web, owners=("other",))) == (0, 1)
    forget(web, sent[0].entry.study_instance_uid, "", everybody=True)
    assert counts(web) == [0, 0, 0]


def test_a_study_that_is_too_old_is_not_found_and_goes(web: Store, clock: Clock) -> None:
    upload(web, "one", files(1, study="old"))
    clock.now += web.settings.store_max_age + 1
    assert found(web) == 0
    upload(web, "one", files(1, study="new"))
    assert counts(web) == [1, 1, 1]


def test_a_study_that_is_evicted_takes_its_rows_along(open_store: OpenStore, clock: Clock) -> None:
    size = file("one").entry.size
    web = open_store(dicomweb=True, store_max_bytes=2 * size + size // 2)
    for name in ("first", "second", "third"):
        clock.now += 100
        upload(web, "one", files(1, study=name))
    assert counts(web) == [2, 2, 2]


def test_a_replaced_instance_replaces_its_row(web: Store) -> None:
    upload(web, "one", [file("one")])
    upload(web, "one", [file("one", note="other")], "replace")
    assert counts(web) == [1, 1, 1]


def test_patterns_match_alike_on_each_database(web: Store) -> None:
    stow(web, "one", [named("A[b]", PatientID="x_1"), named("A%c", PatientID="x%2"), named("Ab", PatientID="x33")])
    assert [found(web, PatientName=text) for text in ("a*", "a[*", "a%*", "a_", "a?", "a[b]")] == [3, 1, 1, 0, 1, 1]
    assert [found(web, PatientID=text) for text in ("x*", "X*", "x_*", "x%*", "x??", "*3", "x\\*")] == [
        3,
        0,
        1,
        1,
        3,
        1,
        0,
    ]


def test_owners_are_searched_in_their_order_and_each_thing_counts_once(web: Store) -> None:
    sent = files(4, study="shared")
    upload(web, "one", sent[:3])
    upload(web, "other", sent[1:])
    upload(web, "third", files(1, study="secret"))
    both = ("one", "other")
    (match,) = search(web, both, read_query(QueryLevel.STUDY, [])).matches
    assert (match.model["00201206"]["Value"], match.model["00201208"]["Value"]) == ([1], [4])
    assert [found(web, level, both) for level in QueryLevel] == [1, 1, 4]
    assert [found(web, level) for level in QueryLevel] == [1, 1, 3]


def test_a_value_too_long_for_any_attribute_is_left_out(web: Store) -> None:
    with pydicom.config.disable_value_validation():
        stow(web, "one", [named("N" * 10_000)])
    assert found(web) == 1
    with pytest.raises(QueryRefused):
        found(web, PatientName="N" * 10_000)


def test_modalities_of_a_study_match_whoever_sent_them(web: Store) -> None:
    stow(web, "one", [named("shared", Modality="CT")])
    stow(web, "other", [named("shared", Modality="MR", SOPInstanceUID="1.2.7", SeriesInstanceUID="1.2.8")])
    assert [found(web, ModalitiesInStudy=text) for text in ("CT", "MR")] == [1, 0]
    assert [found(web, owners=("one", "other"), ModalitiesInStudy=text) for text in ("CT", "MR", "US")] == [1, 1, 0]


def test_filling_replaces_nothing_later(open_store: OpenStore, clock: Clock) -> None:
    age = open_store().settings.store_max_age
    upload(open_store(), "one", files(2, study="old"))
    clock.now += age / 2
    web = open_store(dicomweb=True)
    stow(web, "one", [named("old", PatientID="late", SOPInstanceUID="1.2.7")])
    assert filling.fill(web) == 2
    assert (found(web, PatientID="late"), found(web, QueryLevel.INSTANCE)) == (1, 3)
    clock.now += age * 2 / 3
    assert [found(web, level) for level in QueryLevel] == [1, 1, 1]


def test_a_page_among_many_studies_is_found_by_each_attribute(web: Store) -> None:
    with web.index.writing() as connection:
        synthetic_index.fill(connection, 300, 10, web.clock())
    everyone = ("",)
    page = search(web, everyone, read_query(QueryLevel.INSTANCE, [("limit", "100"), ("StudyDate", "20150101-")]))
    assert (len(page.matches), page.more) == (100, True)
    assert [match.uids for match in page.matches] == sorted(match.uids for match in page.matches)
    (one,) = search(web, everyone, read_query(QueryLevel.STUDY, [("PatientID", "P77")])).matches
    assert (one.uids, one.model["00201208"]["Value"]) == ((synthetic_index.study_uid(77),), [10])
    assert found(web, QueryLevel.STUDY, everyone, PatientName="doe^*") == len(range(0, 300, 7))
    assert found(web, QueryLevel.INSTANCE, everyone, PatientID="P77", InstanceNumber="3") == 1
