"""Stored bytes are those that were sent, for as long as the rules allow, and are removed on request; both databases."""

import hashlib
from pathlib import Path

import pytest

from gateway.errors import LimitExceeded, ParameterRefused, StorageFull, StudyNotFound
from gateway.studies.forgetting import Forgotten, forget
from gateway.studies.references import MEMBERS, NOT_HELD, References
from gateway.studies.retention import sweep
from gateway.studies.store import Store
from tests.studies.conftest import Clock, OpenStore, blobs, incoming
from tests.studies.files import File, file, files, states, upload
from tests.waiting import eventually


def digests(sent: list[File]) -> list[str]:
    return [one.entry.sha256 for one in sent]


def by_digest(sent: list[File]) -> dict[str, object]:
    return {"instances": digests(sent)}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_study_is_read_series_by_series_each_in_the_order_of_its_slices(store: Store) -> None:
    first, second = files(5, series="first"), files(4, series="second")
    upload(store, "one", [*first, *second])
    expected = {
        one.entry.series_instance_uid: digests(list(reversed(some))) for some in (first, second) for one in some
    }
    references = References(store)
    for _ in range(2):  # the second time from memory
        with references.resolve({"study": first[0].entry.study_instance_uid}, "one") as found:
            assert list(found.digests) == [digest for uid in sorted(expected) for digest in expected[uid]]
            contents = {one.entry.sha256: one.data for one in (*first, *second)}
            assert [file.read() for file in found.files] == [contents[digest] for digest in found.digests]
    uids = [second[0].entry.series_instance_uid, first[0].entry.series_instance_uid]
    with references.resolve({"series": uids}, "one") as found:
        assert list(found.digests) == [digest for uid in uids for digest in expected[uid]]
    with references.resolve({"series": uids[0]}, "one") as found:
        assert list(found.digests) == expected[uids[0]]


def test_instances_are_resolved_in_the_order_of_the_reference(store: Store) -> None:
    sent = files(4)
    upload(store, "one", sent)
    with References(store).resolve(by_digest([sent[2], sent[0]]) | {"parameter": 1}, "one") as found:
        assert list(found.digests) == digests([sent[2], sent[0]])
        assert [file.read() for file in found.files] == [sent[2].data, sent[0].data]
        assert not any(file.writable() for file in found.files)


def test_the_input_digest_is_that_of_the_same_request_with_its_parts_and_is_cached(store: Store) -> None:
    sent, text = files(3), b'{"instances": "as they were written"}'
    upload(store, "one", sent)
    references = References(store)
    expected = hashlib.sha256(text + b"".join(one.data for one in sent)).hexdigest()
    with references.resolve(by_digest(sent), "one") as found:
        assert references.input_digest(text, found, "sha256", hashlib.sha256) == expected
        assert [file.tell() for file in found.files] == [0, 0, 0]
    with References(store).resolve(by_digest(sent), "one") as found:
        assert references.input_digest(text, found, "sha256", _never) == expected
        other = references.input_digest(text + b" ", found, "sha256", hashlib.sha256)
        assert other == hashlib.sha256(text + b" " + b"".join(one.data for one in sent)).hexdigest()


def _never() -> object:
    raise AssertionError("hashed twice")


def test_a_caller_resolves_no_instance_of_another(store: Store) -> None:
    sent, mine = files(2), file("mine", study="mine")
    upload(store, "one", sent)
    upload(store, "other", [mine])
    entry = sent[0].entry
    for words in (
        {"study": entry.study_instance_uid},
        {"series": entry.series_instance_uid},
        by_digest(sent),
        by_digest([mine, sent[0]]),
        {"series": [mine.entry.series_instance_uid, entry.series_instance_uid]},
        {"study": "1.2.3"},
    ):
        with pytest.raises(StudyNotFound) as refused:
            References(store).resolve(words, "other")
        assert refused.value.detail == NOT_HELD


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"study": "1.2", "series": "1.2"},
        {"study": ["1.2"]},
        {"study": 12},
        {"study": "../../etc/passwd"},
        {"series": []},
        {"series": ["1.2", "1.2"]},
        {"series": "1.2\n"},
        {"instances": "ab" * 32},
        {"instances": ["AB" * 32]},
        {"instances": ["../" + "ab" * 30]},
        {"instances": [None]},
    ],
)
def test_what_is_no_reference_is_refused_where_it_stands(open_store: OpenStore, words: dict[str, object]) -> None:
    with pytest.raises(ParameterRefused) as refused:
        References(open_store()).resolve(words, "one")
    assert refused.value.pointer.lstrip("/") in MEMBERS


def test_a_reference_obeys_the_limits_of_a_request(open_store: OpenStore) -> None:
    sent = files(3)
    upload(open_store(), "one", sent)
    for limits in ({"max_study_files": 2}, {"max_body_bytes": len(sent[0].data) * 2}):
        with pytest.raises(LimitExceeded) as refused:
            References(open_store(**limits)).resolve(by_digest(sent), "one")
        assert refused.value.members["limit"] in limits


@pytest.mark.parametrize("damage", [flip, lambda path: path.write_bytes(b""), Path.unlink])
def test_a_file_that_has_changed_is_found_and_its_study_missing_from_then_on(store: Store, damage: object) -> None:
    good, bad = files(2)
    for caller in ("one", "other"):
        upload(store, caller, [good, bad])
    path = next(path for path in blobs(store) if path.name == bad.entry.sha256)
    damage(path)
    with pytest.raises(StudyNotFound, match="quarantine"):
        References(store).resolve(by_digest([good, bad]), "one")
    assert not path.exists()
    for caller in ("one", "other"):
        assert states(store, caller, [good, bad]) == ["missing"] * 2
        with pytest.raises(StudyNotFound):
            References(store).resolve({"study": good.entry.study_instance_uid}, caller)
    assert good.entry.sha256 not in [path.name for path in blobs(store)]
    upload(store, "one", [good, bad])
    with References(store).resolve(by_digest([bad, good]), "one") as found:
        assert [file.read() for file in found.files] == [bad.data, good.data]


def test_a_quarantined_file_is_removed_with_its_study_and_by_age(open_store: OpenStore, clock: Clock) -> None:
    store = open_store()
    for study in ("kept", "forgotten"):
        sent = files(2, study=study)
        upload(store, "one", sent)
        flip(next(path for path in blobs(store) if path.name == sent[0].entry.sha256))
        with pytest.raises(StudyNotFound):
            References(store).resolve(by_digest(sent), "one")
    aside = store.folder / "instances" / "quarantine"
    assert len(list(aside.iterdir())) == 2
    assert not any(one.entry.study_instance_uid in str(path) for path in blobs(store) for one in sent)
    upload(store, "one", sent)
    forget(store, sent[0].entry.study_instance_uid, "one")
    assert len(list(aside.iterdir())) == 1
    clock.now += 100 * 365 * 86400
    open_store()
    assert list(aside.iterdir()) == []


def test_the_least_recently_used_study_is_evicted_first(open_store: OpenStore, clock: Clock) -> None:
    sent = [file("first", study=number) for number in range(4)]
    store = open_store(store_max_bytes=sum(len(one.data) for one in sent[:3]))
    for one in sent[:3]:
        upload(store, "one", [one])
        clock.now += 100
    with References(store).resolve(by_digest(sent[:1]), "one"):
        pass
    clock.now += 100
    upload(store, "one", sent[3:])
    assert states(store, "one", sent) == ["present", "missing", "present", "present"]
    assert len(blobs(store)) == 3


def test_a_study_is_evicted_as_a_whole_unless_a_part_of_it_is_in_use(open_store: OpenStore, clock: Clock) -> None:
    old, new = files(3, study="old"), files(1, study="new")
    store = open_store(store_max_bytes=sum(len(one.data) for one in old))
    upload(store, "one", old)
    clock.now += 100
    with References(store).resolve(by_digest(old[1:2]), "one"), pytest.raises(StorageFull):
        upload(store, "other", new)
    assert states(store, "one", old) == ["present"] * 3
    upload(store, "other", new)
    assert states(store, "one", old) == ["missing"] * 3
    assert len(blobs(store)) == 1


def test_a_study_that_is_too_large_does_not_make_room_for_itself(open_store: OpenStore, clock: Clock) -> None:
    sent = files(3)
    store = open_store(store_max_bytes=sum(len(one.data) for one in sent[:2]))
    upload(store, "one", sent[:2])
    clock.now += 100
    with pytest.raises(StorageFull):
        upload(store, "one", sent[2:])
    assert states(store, "one", sent) == ["present", "present", "missing"]


def test_a_study_in_use_is_never_evicted(open_store: OpenStore, clock: Clock) -> None:
    sent = [file("use", study=number) for number in range(4)]
    room = {"store_max_bytes": 2 * max(len(one.data) for one in sent)}
    store, beside = open_store(**room), open_store(**room)
    upload(store, "one", sent[:1])
    clock.now += 100
    upload(store, "one", sent[1:2])
    with References(store).resolve(by_digest(sent[:1]), "one") as found:
        clock.now += 1000
        upload(beside, "other", sent[2:3])
        assert states(store, "one", sent[:2]) == ["present", "missing"]
        with References(beside).resolve(by_digest(sent[2:3]), "other"), pytest.raises(StorageFull):
            upload(beside, "other", sent[3:])
        assert found.files[0].read() == sent[0].data
    upload(beside, "other", sent[3:])
    assert states(store, "other", sent[2:]) == ["missing", "present"]
    assert states(store, "one", sent[:2]) == ["present", "missing"]
    assert incoming(store) == []


def test_more_than_the_quota_is_refused_and_evicts_nothing(open_store: OpenStore) -> None:
    sent = files(3)
    store = open_store(store_max_bytes=sum(len(one.data) for one in sent[:2]))
    upload(store, "one", sent[:1])
    with pytest.raises(StorageFull):
        upload(store, "one", sent)
    assert states(store, "one", sent) == ["present", "missing", "missing"]


def test_a_full_store_does_not_reveal_the_instances_of_others(open_store: OpenStore) -> None:
    theirs, news = files(2), files(2, study="new")
    store = open_store(store_max_bytes=sum(len(one.data) for one in theirs))
    upload(store, "one", theirs)
    with References(store).resolve(by_digest(theirs), "one"):
        for sent in (theirs, news):
            with pytest.raises(StorageFull):
                upload(store, "other", sent)


def test_each_callers_time_runs_from_their_own_sending(open_store: OpenStore, clock: Clock) -> None:
    sent = files(2)
    store = open_store(store_max_age=1000.0)
    upload(store, "one", sent)
    clock.now += 600
    upload(store, "other", sent)
    clock.now += 600
    assert states(store, "one", sent) == ["missing"] * 2
    with pytest.raises(StudyNotFound):
        References(store).resolve(by_digest(sent), "one")
    assert states(store, "other", sent) == ["present"] * 2
    clock.now += 600
    upload(store, "one", [file("beside")])
    assert len(blobs(store)) == 1


def test_another_file_under_a_uid_whose_time_is_over_takes_its_place_and_both_are_forgotten(
    open_store: OpenStore, clock: Clock
) -> None:
    old, new = file(1, study="again"), file(1, study="again", note="new")
    store = open_store(store_max_age=1000.0)
    upload(store, "one", [old])
    clock.now += 990
    upload(store, "one", [file("beside", study="other")])
    clock.now += 20
    upload(store, "one", [new])
    assert states(store, "one", [new]) == ["present"]
    forget(store, new.entry.study_instance_uid, "one")
    assert len(blobs(store)) == 1


def test_an_expired_study_leaves_the_disk_without_a_request_and_one_in_use_later(
    open_store: OpenStore, clock: Clock
) -> None:
    sent = files(2)
    store = open_store(store_max_age=1000.0, upkeep_seconds=0.05)
    upload(store, "one", sent)
    with References(store).resolve(by_digest(sent[:1]), "one"):
        clock.now += 1001
        eventually(lambda: [path.name for path in blobs(store)] == [sent[0].entry.sha256])
        assert states(store, "one", sent) == ["missing"] * 2
    eventually(lambda: blobs(store) == [])


def test_forgetting_removes_the_callers_own_and_is_audited_without_a_uid(store: Store) -> None:
    sent, beside, told = files(3), file("beside", study="other"), list[Forgotten]()
    upload(store, "one", [*sent, beside])
    upload(store, "other", sent[:1])
    uid = sent[0].entry.study_instance_uid
    record = forget(store, uid, "one", audit=told.append)
    assert (record.instances, record.size) == (3, sum(len(one.data) for one in sent))
    assert told == [record]
    assert uid not in repr(record)
    assert states(store, "one", [*sent, beside]) == ["missing"] * 3 + ["present"]
    assert states(store, "other", sent) == ["present", "missing", "missing"]
    assert {path.name for path in blobs(store)} == {sent[0].entry.sha256, beside.entry.sha256}
    for caller in ("one", "stranger"):
        with pytest.raises(StudyNotFound):
            forget(store, uid, caller, audit=told.append)
    assert told == [record]


def test_forgetting_for_everybody_leaves_nothing_and_lets_readers_finish(store: Store) -> None:
    sent = files(2)
    for caller in ("one", "other"):
        upload(store, caller, sent)
    with References(store).resolve(by_digest(sent), "one") as found:
        forget(store, sent[0].entry.study_instance_uid, "admin", everybody=True)
        assert blobs(store) == []
        assert [file.read() for file in found.files] == [one.data for one in sent]
    assert states(store, "one", sent) == states(store, "other", sent) == ["missing"] * 2


def test_a_sweep_takes_what_no_index_knows_and_nothing_else(store: Store) -> None:
    sent = files(2)
    upload(store, "one", sent)
    stray = store.folder / "instances" / "ab" / ("abcd" + "0" * 60)
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"placed, and never entered")
    left = store.folder / "incoming" / "left"
    left.write_bytes(b"half")
    with store.incoming() as alive:
        alive.write(b"still coming")
        assert sweep(store.index, store.folder / "incoming", store.blobs, 0) == 1
        assert stray.exists()
        assert sweep(store.index, store.folder / "incoming", store.blobs, 4e9) == 1
        assert incoming(store) == [alive.path]
    assert not stray.exists()
    assert states(store, "one", sent) == ["present"] * 2
    assert len(blobs(store)) == 2
