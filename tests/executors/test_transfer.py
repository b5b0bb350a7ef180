"""Requests and answers are unchanged by the transfer between processes."""

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.contract.execution import Card, RequestContext
from gateway.contract.requests import BinaryPart, Request, Result
from gateway.errors import GatewayError, from_words, to_words
from gateway.executors.messages import MAX_DESCRIPTORS, MAX_MESSAGE, accept, connect, listen, pair
from gateway.executors.transfer import (
    TransferContext,
    read_outcome,
    read_request,
    write_error,
    write_request,
    write_result,
)
from gateway.spool.anonymous_files import AnonymousFile, MemoryPool
from gateway.spool.parts import Spool
from tests.examples import examples

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)
CONTENTS = st.binary(max_size=300)


def file_of(content: bytes) -> AnonymousFile:
    file = AnonymousFile.in_memory()
    file.write(content)
    return file


def content_of(file: AnonymousFile) -> bytes:
    return os.pread(file.descriptor, 1 << 20, 0)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@given(st.lists(st.tuples(OBJECTS, st.lists(CONTENTS, max_size=4)), max_size=4))
@settings(deadline=None, max_examples=examples(50))
def test_messages_arrive_as_they_were_sent_each_with_its_files(
    messages: list[tuple[dict[str, Any], list[bytes]]],
) -> None:
    here, there = pair()
    for words, contents in messages:
        here.send(words, [file_of(content) for content in contents])
    for words, contents in messages:
        message = there.receive()
        assert message is not None
        assert message[0] == words
        assert [content_of(file) for file in message[1]] == contents
    here.close()
    assert there.receive() is None
    there.close()


def test_files_are_open_only_while_referenced() -> None:
    here, there = pair()
    before = descriptors()
    for _ in range(5):
        here.send({}, [file_of(b"x") for _ in range(MAX_DESCRIPTORS)])
        message = there.receive()
        assert message is not None
        assert len(message[1]) == MAX_DESCRIPTORS
        del message
    assert descriptors() == before
    here.close()
    there.close()


def test_a_message_that_is_too_large_is_not_sent_in_part() -> None:
    here, there = pair()
    with pytest.raises(ValueError, match="at most"):
        here.send({"text": "x" * MAX_MESSAGE})
    here.send({"text": "x" * (MAX_MESSAGE - 100)})
    message = there.receive()
    assert message is not None
    assert len(message[0]["text"]) == MAX_MESSAGE - 100
    here.close()
    there.close()


def test_messages_of_many_threads_do_not_mix() -> None:
    here, there = pair()

    def send(number: int) -> None:
        for _ in range(50):
            here.send({"text": str(number) * 500}, [file_of(str(number).encode())])

    threads = [threading.Thread(target=send, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(8 * 50):
        message = there.receive()
        assert message is not None
        (number,) = set(message[0]["text"])
        assert content_of(message[1][0]) == number.encode()
    for thread in threads:
        thread.join()
    here.close()
    there.close()


def test_a_closed_peer_is_an_oserror_when_sending_and_the_end_when_receiving() -> None:
    here, there = pair()
    there.close()
    with pytest.raises(ConnectionError):
        here.send({})
    assert here.receive() is None
    here.close()


def test_a_process_of_the_server_that_connects_is_accepted() -> None:
    listener, address = listen()
    here = connect(address)
    there = accept(listener)
    assert there is not None
    here.send({"a": 1})
    assert there.receive() == ({"a": 1}, [])
    for one in (here, there, listener):
        one.close()


def leaves(kind: type[GatewayError] = GatewayError) -> list[type[GatewayError]]:
    own = [one for one in kind.__subclasses__() if one.__module__ == errors.__name__]
    return [kind] if not own else [leaf for one in own for leaf in leaves(one)]


MADE: dict[type[GatewayError], GatewayError] = {
    errors.LimitExceeded: errors.LimitExceeded("max_parts", 7, "parts"),
    errors.ParameterRefused: errors.ParameterRefused([("/a", "One."), ("/b/0", "Two.")]),
    errors.Unauthenticated: errors.Unauthenticated("Not accepted.", proof_given=True, scheme="Basic"),
    errors.TooManyRequests: errors.TooManyRequests("Slower.", retry_after=9),
    errors.Unavailable: errors.Unavailable("Later.", retry_after=17),
    errors.AnswerInvalid: errors.AnswerInvalid("/parts/0", "Too small."),
}


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
def test_an_error_of_each_kind_is_the_same_on_the_other_side(kind: type[GatewayError]) -> None:
    error = MADE.get(kind) or kind("A sentence.", private="only here")
    (file,) = write_error(error)
    found = read_outcome([file])
    assert type(found) is kind
    assert (found.problem(), found.headers(), found.private) == (error.problem(), error.headers(), error.private)
    assert vars(found) == vars(error)
    assert found.args == error.args


@given(detail=TEXT, private=TEXT, members=OBJECTS)
def test_an_error_keeps_its_texts_and_members(detail: str, private: str, members: dict[str, Any]) -> None:
    members = {f"x{name}": value for name, value in members.items()}
    error = errors.StudyRefused(detail, private=private, **members)
    found = from_words(to_words(error))
    assert (found.detail, found.private, found.members) == (detail, private, members)


def test_an_error_of_a_kind_that_is_not_known_here_is_a_model_that_failed() -> None:
    found = from_words(to_words(errors.StudyRefused("No.")) | {"code": "somebody-elses"})
    assert type(found) is errors.ModelFailed
    assert found.detail == "No."


def spooled(contents: list[bytes], threshold: int) -> list[Any]:
    spool = Spool(threshold=threshold, shared=MemoryPool(0).file)
    for content in contents:
        spool.write(content)
        spool.end_part()
    return list(spool.parts())


@given(
    json=OBJECTS,
    contents=st.lists(CONTENTS, max_size=4),
    threshold=st.sampled_from([0, 100, 10_000]),
    accept=TEXT,
    offset=st.integers(-12, 12),
)
@settings(deadline=None, max_examples=examples(60))
def test_a_request_is_the_same_on_the_other_side(
    json: dict[str, Any], contents: list[bytes], threshold: int, accept: str, offset: int
) -> None:
    received = datetime(2026, 11, 21, 12, 0, 0, 123456, timezone(timedelta(hours=offset)))
    request = Request(json, spooled(contents, threshold), "ab" * 32, "an id", accept, received, RequestContext(1234.5))
    request.context.max_decoded = 6 << 30
    context = TransferContext()
    found = read_request(write_request(request), context)
    assert [file.read() for file in found.instances] == contents
    assert [bytes(file.getbuffer()) for file in found.instances] == contents  # type: ignore[attr-defined]
    assert (found.json, found.input_digest, found.request_id) == (json, "ab" * 32, "an id")
    assert (found.accept, found.received, found.context.deadline) == (accept, received, 1234.5)
    assert found.context is context and context.max_decoded == 6 << 30


def test_parts_that_do_not_lie_in_a_shared_spool_are_not_handed_over() -> None:
    spool = Spool(threshold=1000)
    spool.write(b"x")
    spool.end_part()
    with pytest.raises(TypeError):
        write_request(Request({}, list(spool.parts()), ""))


SHAPES = st.lists(st.integers(0, 5), max_size=3)
DTYPES = st.sampled_from([np.uint8, np.int16, np.float32, np.float64])


@given(arrays=st.lists(st.tuples(SHAPES, DTYPES), max_size=5), others=st.lists(CONTENTS, max_size=3))
@settings(deadline=None, max_examples=examples(60))
def test_an_answer_is_the_same_on_the_other_side_wherever_its_bytes_were_allocated(
    arrays: list[tuple[list[int], Any]], others: list[bytes]
) -> None:
    context, pieces = TransferContext(), []
    for number, (shape, dtype) in enumerate(arrays):
        array = context.empty(shape, dtype)
        assert (array.shape, array.dtype) == (tuple(shape), np.dtype(dtype))
        array[...] = number
        pieces.append(memoryview(array.reshape(-1)).cast("B"))
    pieces += [memoryview(other) for other in others]
    expected = [bytes(piece) for piece in pieces]
    card = Card(name="m", version="1", deterministic=True)
    parts = [BinaryPart(f"application/x-{number}", piece) for number, piece in enumerate(pieces)]
    result = Result(b'{"a": 1}', parts, "cd" * 32, 0.25, {"predict": 0.2}, 3, card)
    found = read_outcome(write_result(result, context))
    assert isinstance(found, Result)
    assert found.json_bytes == result.json_bytes
    assert [bytes(part.data) for part in found.parts] == expected
    assert [part.media_type for part in found.parts] == [part.media_type for part in parts]
    assert (found.input_digest, found.seconds, found.phases) == ("cd" * 32, 0.25, {"predict": 0.2})
    assert (found.batch_size, found.card) == (3, card)


def test_an_array_from_empty_lies_where_it_leaves_from_and_so_does_a_part_of_it() -> None:
    context = TransferContext()
    first, second = context.empty([1000], np.uint8), context.empty([10, 10], np.float32)
    size = os.fstat(context.sealed().descriptor).st_size
    pieces = [memoryview(first), memoryview(first)[100:300], memoryview(second).cast("B"), memoryview(b"other")]
    del first, second
    whole, part, other, foreign = context.place(pieces)
    assert (whole[1], other[1]) == (1000, 400)
    assert part == (whole[0] + 100, 200)
    assert max(whole[0] + whole[1], other[0] + other[1]) <= size <= foreign[0]  # the last is written at the end


@pytest.mark.parametrize("keep", [np.asarray, memoryview, lambda array: array[10:20]], ids=["whole", "buffer", "part"])
def test_an_array_from_empty_that_its_model_keeps_is_sent_unchanged(keep: Callable[[Any], Any]) -> None:
    context = TransferContext()
    first, second = context.empty([1000], np.uint8), context.empty([500], np.uint8)
    first[:], second[:] = 1, 2
    kept = keep(first)
    pieces = [second.data, first.data, memoryview(b"other")]
    del first, second
    result = Result(b"{}", [BinaryPart("application/x", piece) for piece in pieces], "ab" * 32, 0)
    found = read_outcome(write_result(result, context))
    np.asarray(kept)[:] = 9
    assert isinstance(found, Result)
    assert [bytes(part.data) for part in found.parts] == [bytes([2]) * 500, bytes([1]) * 1000, b"other"]


def test_an_array_that_is_not_from_empty_is_written_where_numpy_may_read_it() -> None:
    places = TransferContext().place([memoryview(bytes(length)) for length in (1, 63, 64, 65, 0)])
    assert [offset % 64 for offset, _ in places] == [0] * 5
    assert places[-1] == (0, 0)


def test_an_answer_cannot_be_cut_off_below_its_reader() -> None:
    context = TransferContext()
    context.empty([5000], np.uint8)[:] = 1
    file = context.sealed()
    assert file is not None
    with pytest.raises(PermissionError):
        os.ftruncate(file.descriptor, 0)


def test_the_time_of_receipt_has_its_zone() -> None:
    request = Request({}, [], "", received=datetime.now(UTC))
    assert read_request(write_request(request), TransferContext()).received.tzinfo is not None
