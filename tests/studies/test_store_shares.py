"""Each caller has a share of the quota, below which no other caller displaces its studies; on both databases."""

import pytest

from gateway.errors import StorageFull
from gateway.studies.references import References
from gateway.studies.store import Store
from tests.studies.conftest import Clock, OpenStore, blobs
from tests.studies.files import File, file, states, upload

STUDIES = {name: [file(name, study=f"{name}{number:02}") for number in range(8)] for name in ("one", "other", "third")}
SIZE = max(len(sent.data) for studies in STUDIES.values() for sent in studies)
"""Bytes of the largest study; all have about as many."""


def send(store: Store, clock: Clock, caller: str, studies: list[File]) -> None:
    """Send studies one after the other, each of one instance."""
    for sent in studies:
        clock.now += 100
        upload(store, caller, [sent])


def present(store: Store, caller: str) -> list[int]:
    """The numbers of a caller's studies that are stored."""
    return [number for number, state in enumerate(states(store, caller, STUDIES[caller])) if state == "present"]


def test_a_caller_that_fills_the_store_displaces_its_own_studies(open_store: OpenStore, clock: Clock) -> None:
    store = open_store(store_max_bytes=4 * SIZE)
    send(store, clock, "one", STUDIES["one"][:2])
    send(store, clock, "other", STUDIES["other"])
    assert (present(store, "one"), present(store, "other")) == ([0, 1], [6, 7])
    assert len(blobs(store)) == 4


def test_a_caller_gets_its_share_from_those_above_theirs_the_least_recently_used_first(
    open_store: OpenStore, clock: Clock
) -> None:
    store = open_store(store_max_bytes=6 * SIZE)
    send(store, clock, "one", STUDIES["one"][:6])
    with References(store).resolve({"instances": [STUDIES["one"][0].entry.sha256]}, "one"):
        clock.now += 100
    send(store, clock, "other", STUDIES["other"][:5])
    assert (present(store, "one"), present(store, "other")) == ([0, 4, 5], [2, 3, 4])
    send(store, clock, "third", STUDIES["third"])
    assert [len(present(store, name)) for name in STUDIES] == [2, 2, 2]


def test_a_share_in_bytes_bounds_what_a_caller_is_entitled_to(open_store: OpenStore, clock: Clock) -> None:
    store = open_store(store_max_bytes=6 * SIZE, store_caller_bytes=SIZE)
    send(store, clock, "one", STUDIES["one"][:5])
    send(store, clock, "other", STUDIES["other"])
    assert (present(store, "one"), present(store, "other")) == ([0, 1, 2, 3, 4], [7])


def test_a_study_above_the_share_goes_in_only_where_others_are_above_theirs(
    open_store: OpenStore, clock: Clock
) -> None:
    store = open_store(store_max_bytes=4 * SIZE)
    send(store, clock, "one", STUDIES["one"][:2])
    large = [file(number, study="large") for number in range(3)]
    upload(store, "other", large[:2])
    with pytest.raises(StorageFull):
        upload(store, "other", large[2:])
    assert states(store, "other", large) == ["present", "present", "missing"]
    assert present(store, "one") == [0, 1]


def test_what_two_callers_have_sent_stays_until_both_have_lost_it(open_store: OpenStore, clock: Clock) -> None:
    store = open_store(store_max_bytes=4 * SIZE)
    for caller in ("one", "other"):
        upload(store, caller, STUDIES["one"][:2])
    send(store, clock, "other", STUDIES["other"][:5])
    assert (present(store, "one"), present(store, "other")) == ([0, 1], [3, 4])
    assert states(store, "other", STUDIES["one"][:2]) == ["missing"] * 2
    for caller in ("one", "other"):
        upload(store, caller, STUDIES["third"][:1])
    assert len(blobs(store)) <= 4
