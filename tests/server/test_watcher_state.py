"""The state of one waiting answer: what it sends, and when something is due."""

import math

import pytest

from gateway.endpoints.waiting import KEEP_ALIVE, KEEP_ALIVE_SECONDS, Piece
from gateway.server.watcher_state import LAST_CHUNK, Watcher

TIMEOUT = 40.0


class Response:
    """Counts nothing."""


def stream(*, chunked: bool = False, until: float = math.inf) -> Watcher:
    watcher = Watcher(None, 3, Response(), {}, timeout=TIMEOUT, chunked=chunked, until=until)
    watcher.due = KEEP_ALIVE_SECONDS
    return watcher


def test_a_piece_moves_the_place_and_is_sent_in_parts() -> None:
    watcher = stream()
    watcher.take(Piece(b"seven", 7), 1.0)
    assert (watcher.after, watcher.pending, watcher.over) == (7, b"seven", False)
    watcher.sent(3)
    assert watcher.pending == b"en"
    watcher.take(Piece(b"", 7, ended=True), 2.0)
    assert not watcher.over
    watcher.sent(2)
    assert watcher.over


def test_a_chunked_stream_ends_with_the_last_chunk_once() -> None:
    watcher = stream(chunked=True)
    watcher.take(Piece(b"x" * 17, 4), 0.0)
    watcher.end(0.0)
    watcher.end(0.0)
    assert watcher.pending == b"11\r\n" + b"x" * 17 + b"\r\n" + LAST_CHUNK


def test_a_silent_stream_sends_a_comment_at_each_interval() -> None:
    watcher = stream()
    watcher.expire(KEEP_ALIVE_SECONDS)
    assert (watcher.pending, watcher.due) == (KEEP_ALIVE, 2 * KEEP_ALIVE_SECONDS)
    watcher.sent(len(KEEP_ALIVE))
    watcher.take(Piece(b"news", 5), 20.0)
    assert watcher.due == 20.0 + KEEP_ALIVE_SECONDS


def test_a_client_that_does_not_read_what_is_pending_in_time_is_dropped_even_if_it_reads_a_little() -> None:
    watcher = stream()
    watcher.take(Piece(b"seven", 7), 0.0)
    for now in (15.0, 30.0):
        watcher.sent(1)
        watcher.expire(now)
        assert KEEP_ALIVE not in watcher.pending
    assert watcher.due == TIMEOUT
    with pytest.raises(TimeoutError):
        watcher.expire(TIMEOUT)


def test_the_time_to_read_begins_again_once_all_is_read() -> None:
    watcher = stream()
    watcher.take(Piece(b"seven", 7), 0.0)
    watcher.sent(5)
    watcher.take(Piece(b"eight", 8), 30.0)
    watcher.expire(45.0)
    assert watcher.drain_by == 30.0 + TIMEOUT


def test_a_deferred_answer_is_over_at_its_time_and_sends_nothing() -> None:
    watcher = Watcher(None, 3, Response(), {}, resume=lambda environ, start: [], until=9.0)
    assert (watcher.due, watcher.drain_by) == (9.0, math.inf)
    watcher.take(Piece(b"", 6), 1.0)
    assert not watcher.over
    watcher.expire(9.0)
    assert watcher.over
    assert watcher.pending == b""


def test_a_stream_ends_at_its_time_though_news_arrive_and_its_client_still_has_time_to_read() -> None:
    watcher = stream(chunked=True, until=20.0)
    watcher.take(Piece(b"news", 7), 12.0)
    assert watcher.due == 20.0
    watcher.expire(20.0)
    watcher.expire(30.0)
    assert watcher.pending == b"4\r\nnews\r\n" + LAST_CHUNK
    assert 30.0 < watcher.due <= 12.0 + TIMEOUT
    with pytest.raises(TimeoutError):
        watcher.expire(12.0 + TIMEOUT)
