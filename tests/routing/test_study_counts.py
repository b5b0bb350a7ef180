"""A peer that is asked how many instances a study has, and what it may answer."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.peers.peer_directory import PeerDirectory
from gateway.peers.peer_entries import PeerEntry, WebAddress
from gateway.routing.study_counts import COUNT, UNKNOWN, StudyCounts
from tests.peers.scripted import Asked, ScriptedPeer, response, scripted
from tests.waiting import eventually


@contextmanager
def asked(answer: Any) -> Iterator[tuple[StudyCounts, ScriptedPeer]]:
    with scripted(answer) as peer:
        entry = PeerEntry("pacs", web=WebAddress(f"http://127.0.0.1:{peer.port}"))
        directory = PeerDirectory({"pacs": entry}, lambda *_: None)
        try:
            yield StudyCounts(directory), peer
        finally:
            directory.close()


def stating(value: Any) -> Any:
    """Answers of a peer that states ``value`` as the number of each study."""
    match = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, COUNT: {"vr": "IS", "Value": value}}

    def answer(request: Asked) -> Any:
        return response(200, json.dumps([] if "offset=1" in request.target else [match]).encode())

    return answer


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ([12], 12),
        (["12"], 12),
        ([], UNKNOWN),
        (["many"], UNKNOWN),
        ([None], UNKNOWN),
        (12, UNKNOWN),
        ([[12]], UNKNOWN),
        ([float("1e999")], UNKNOWN),
    ],
)
def test_a_number_is_what_the_peer_states_and_else_unknown(value: Any, number: int) -> None:
    with asked(stating(value)) as (
        counts,
        _,
    ):
        assert counts.ask("pacs", "1.2") == number


def test_a_study_that_the_peer_lacks_has_no_number() -> None:
    with asked(lambda _: response(204)) as (counts, peer):
        assert counts.ask("pacs", "1.2") == UNKNOWN
        assert "00080018" not in peer.asked[0].target
        assert "StudyInstanceUID=1.2" in peer.asked[0].target


def test_a_peer_that_fails_rests() -> None:
    with asked(lambda _: response(401)) as (counts, peer):
        assert [counts.ask("pacs", "1.2") for _ in range(3)] == [UNKNOWN] * 3
        assert len(peer.asked) == 1


def test_a_peer_that_is_slow_holds_one_study_alone() -> None:
    going = threading.Event()

    def answer(request: Asked) -> Any:
        going.wait(30)
        return stating([3])(request)

    found: list[int] = []
    with asked(answer) as (counts, peer):
        first = threading.Thread(target=lambda: found.append(counts.ask("pacs", "1.2")))
        first.start()
        eventually(lambda: len(peer.asked) == 1)
        assert counts.ask("pacs", "1.3") == UNKNOWN
        assert len(peer.asked) == 1
        going.set()
        first.join()
    assert found == [3]
