"""Answers are stored under everything that determines them and returned byte by byte to their caller."""

import hashlib
from dataclasses import replace

import pytest
from sqlalchemy import update

from gateway.contract.requests import BinaryPart, Result
from gateway.errors import DigestMismatch, ResultNotFound
from gateway.studies import instance_rows
from gateway.studies.forgetting import forget
from gateway.studies.instance_rows import HeldInstance
from gateway.studies.listings import Filter, list_results
from gateway.studies.results import ResultKey, Results
from gateway.studies.store import Store
from gateway.studies.tables import results
from tests.studies.conftest import Clock, OpenStore, blobs
from tests.studies.files import File, files, states, upload

PARTS = [
    BinaryPart("application/octet-stream", memoryview(b"\x00\x01")),
    BinaryPart("application/dicom", memoryview(b"")),
]
RESULT = Result(b'{"parts": [1]}', PARTS, "1" * 64, 0.5)
OUTPUT = hashlib.sha256(b'{"parts": [1]}\x00\x01').hexdigest()


def key(sent: list[File], **words: str) -> ResultKey:
    given = {
        "model": "/lungs",
        "version": "1",
        "model_digest": "2" * 64,
        "weights_digest": "",
        "parameters_digest": "3" * 64,
    }
    return ResultKey(instances=tuple(one.entry.sha256 for one in sent), **given | words)


def held(store: Store, caller: str, sent: list[File]) -> list[HeldInstance]:
    with store.index.reading() as connection:
        found = instance_rows.of_study(connection, caller, sent[0].entry.study_instance_uid)
    return sorted(found, key=lambda one: [file.entry.sha256 for file in sent].index(one.sha256))


def keep(store: Store, caller: str, sent: list[File], result: Result = RESULT, **words: str) -> str:
    upload(store, caller, sent)
    return Results(store).keep(key(sent, **words), caller, result, OUTPUT, held(store, caller, sent))


def test_a_cached_answer_is_returned_byte_by_byte_with_its_age(store: Store, clock: Clock) -> None:
    sent = files(2)
    keep(store, "one", sent)
    clock.now += 61.9
    found = Results(store).find(key(sent), "one", RESULT.input_digest)
    assert found is not None
    assert (found.age, found.output_digest, found.result.input_digest) == (61, OUTPUT, RESULT.input_digest)
    assert found.result.json_bytes == RESULT.json_bytes
    assert [(part.media_type, bytes(part.data)) for part in found.result.parts] == [
        ("application/octet-stream", b"\x00\x01"),
        ("application/dicom", b""),
    ]


@pytest.mark.parametrize(
    "other", ["model", "version", "model_digest", "weights_digest", "parameters_digest", "output", "instances"]
)
def test_whatever_made_an_answer_another_one_is_another(store: Store, other: str) -> None:
    sent = files(2)
    keep(store, "one", sent)
    asked = replace(key(sent), **{other: tuple(reversed(key(sent).instances)) if other == "instances" else "other"})
    assert Results(store).find(asked, "one", RESULT.input_digest) is None


def test_an_answer_to_another_input_is_refused(store: Store) -> None:
    sent = files(2)
    keep(store, "one", sent)
    assert Results(store).find(key(sent), "one", "4" * 64) is None


def test_a_newer_answer_takes_the_place_of_the_older(store: Store) -> None:
    sent = files(1)
    first = keep(store, "one", sent)
    assert keep(store, "one", sent, replace(RESULT, input_digest="5" * 64)) == first
    assert Results(store).find(key(sent), "one", "5" * 64) is not None
    assert len(blobs(store, "results")) == 1


def test_a_result_of_one_caller_is_not_returned_to_another(store: Store) -> None:
    sent = files(2)
    id = keep(store, "one", sent)
    upload(store, "other", sent)
    kept = Results(store)
    assert kept.find(key(sent), "other", RESULT.input_digest) is None
    assert list_results(store, "other", Filter(), limit=10) == []
    for ask in (kept.get, kept.delete):
        with pytest.raises(ResultNotFound):
            ask(id, "other")
    with pytest.raises(ResultNotFound):
        list_results(store, "other", Filter(), limit=10, after=id)
    assert kept.get(id, "one").id == id


def test_an_answer_that_has_changed_on_the_disk_is_not_returned(store: Store) -> None:
    sent = files(1)
    id = keep(store, "one", sent)
    (path,) = blobs(store, "results")
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert Results(store).find(key(sent), "one", RESULT.input_digest) is None
    with pytest.raises(ResultNotFound):
        Results(store).get(id, "one")
    assert blobs(store, "results") == []


def test_an_answer_that_has_changed_since_it_was_hashed_is_not_stored(store: Store) -> None:
    changed = replace(RESULT, parts=[BinaryPart("application/octet-stream", memoryview(b"\x00\x02"))])
    with pytest.raises(DigestMismatch):
        keep(store, "one", files(1), changed)
    assert blobs(store, "results") == []
    assert list_results(store, "one", Filter(), limit=1) == []


def test_a_stored_answer_without_its_output_digest_is_removed_and_not_returned(store: Store) -> None:
    sent = files(1)
    id = keep(store, "one", sent)
    with store.index.writing() as connection:
        connection.execute(update(results).values(output_digest="6" * 64))
    assert Results(store).find(key(sent), "one", RESULT.input_digest) is None
    with pytest.raises(ResultNotFound):
        Results(store).get(id, "one")
    assert blobs(store, "results") == []


def test_an_answer_stored_under_another_algorithm_is_returned_with_the_name_of_that(store: Store) -> None:
    id = keep(store, "one", files(1))
    later = replace(store, settings=replace(store.settings, digest="blake3"))
    assert Results(later).get(id, "one").algorithm == "sha256"


def test_results_are_found_by_what_they_belong_to_the_newest_first(store: Store, clock: Clock) -> None:
    mine = {study: files(2, study=study) for study in ("first", "second")}
    ids = []
    for study, version in (("first", "1"), ("second", "1"), ("first", "2")):
        ids.append(keep(store, "one", mine[study], version=version))
        clock.now += 10
    study, series = mine["first"][0].entry.study_instance_uid, mine["second"][0].entry.series_instance_uid

    def found(**words: object) -> list[str]:
        return [one.id for one in list_results(store, "one", Filter(**words), limit=10)]

    assert found() == [ids[2], ids[1], ids[0]]
    assert found(study=study) == [ids[2], ids[0]]
    assert found(series=series) == [ids[1]]
    assert found(model="/lungs", version="2") == [ids[2]]
    assert found(model="/liver") == []
    assert found(since=clock.now - 20, until=clock.now - 10) == [ids[1]]
    (one,) = list_results(store, "one", Filter(), limit=1, after=ids[1])
    assert (one.id, one.instances, one.studies, one.size) == (ids[0], 2, (study,), 16)


def test_results_outlive_their_instances_and_go_with_their_study(store: Store, clock: Clock) -> None:
    sent, beside = files(2), files(1, study="beside")
    ids, uid = [], sent[0].entry.study_instance_uid
    for some in (sent, beside):
        upload(store, "one", some)
        made_from = held(store, "one", some)
        clock.now += 10
        ids.append(Results(store).keep(key(some), "one", RESULT, OUTPUT, made_from))
        clock.now -= 10
    with store.index.writing() as connection:
        store.retention.make_room(connection, "one", store.settings.store_max_bytes - 2 * 16)
    assert states(store, "one", [*sent, *beside]) == ["missing"] * 3
    assert [one.id for one in list_results(store, "one", Filter(study=uid), limit=9)] == ids[:1]
    assert forget(store, uid, "one").results == 1
    assert [one.id for one in list_results(store, "one", Filter(), limit=9)] == ids[1:]


def test_results_share_the_quota_and_the_age_of_the_store(open_store: OpenStore, clock: Clock) -> None:
    sent, old = files(1), files(1, study="old")
    store = open_store(store_max_bytes=sum(len(one.data) for one in [*sent, *old]), store_max_age=1000.0)
    upload(store, "one", old)
    clock.now += 100
    id = keep(store, "one", sent)
    assert [path.name for path in blobs(store)] == [sent[0].entry.sha256], "an answer takes no room from its study"
    clock.now += 1001
    with pytest.raises(ResultNotFound):
        Results(store).get(id, "one")
    open_store(store_max_age=1000.0)
    assert blobs(store, "results") == []


def test_a_deleted_result_is_not_found(store: Store) -> None:
    sent = files(1)
    id = keep(store, "one", sent)
    Results(store).delete(id, "one")
    assert blobs(store, "results") == []
    with pytest.raises(ResultNotFound):
        Results(store).delete(id, "one")
