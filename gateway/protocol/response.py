"""A model's answer -> the bytes to send, checked against protocol 1.0 before the first of them leaves."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

import numpy

from gateway.contract.requests import JSON, BinaryPart, Buffer, EncodedAnswer, ModelAnswer
from gateway.errors import AnswerInvalid, ModelFailed
from gateway.protocol.faults import faults, loggable, pointer
from gateway.protocol.jsontext import Report, encode
from gateway.protocol.kinds import kind_of
from gateway.protocol.serializer import as_bytes

Serializer = Callable[[JSON, list[Buffer]], Iterable[Any]]

MAX_WARNINGS = 20
"""Faults of one answer that are logged; ten thousand boxes with the same fault should not flood a log."""


def encoded(answer: ModelAnswer, *, serializer: Serializer, strict: bool, warn: Callable[[str], None]) -> EncodedAnswer:
    """Return an answer as it is sent. One whose model found its ``faults`` is not checked again, but see ``check``.

    Raises AnswerInvalid, and ModelFailed for a serializer that yields no parts.
    """
    if answer.faults is None:
        return check(answer.json, answer.buffers, serializer=serializer, strict=strict, warn=warn)
    report = reporter(strict=strict, warn=warn)
    for fault in answer.faults:
        report(fault)
    if answer.encoded is not None:
        return answer.encoded
    return EncodedAnswer(encode(answer.json, report), _serialize(serializer, answer.json, list(answer.buffers)))


def check(
    json_response: Any, buffers: Any, *, serializer: Serializer, strict: bool, warn: Callable[[str], None]
) -> EncodedAnswer:
    """Check the answer of a plain handler, and return it as it is sent.

    Raises AnswerInvalid with a JSON pointer to the first fault. Where not ``strict``, faults of content go to ``warn``
    as sentences that name no value, and the answer goes out as the model gave it; an answer that cannot be sent, and a
    number of buffers other than that of the entries in ``parts``, is refused always.
    """
    report = reporter(strict=strict, warn=warn)
    answer, components = _answer(json_response), _components(buffers)
    json_bytes = encode(answer, report)
    sent = json.loads(json_bytes)
    entries = _entries(sent, components)
    broken = _report_all(faults(sent), report)
    parts = _serialize(serializer, answer, components)
    for index, (entry, buffer, part) in enumerate(zip(entries, components, parts, strict=True)):
        if str(index) not in broken:
            _check_part(index, entry, buffer, part, report)
    return EncodedAnswer(json_bytes, parts)


def reporter(*, strict: bool, warn: Callable[[str], None]) -> Report:
    """Return what takes a fault of content: it is raised where ``strict``, else a sentence of it goes to ``warn``."""
    return _refuse if strict else _warner(warn)


def _refuse(fault: AnswerInvalid) -> None:
    raise fault


def _warner(warn: Callable[[str], None]) -> Report:
    number = count(1)

    def report(fault: AnswerInvalid) -> None:
        if next(number) <= MAX_WARNINGS:
            warn(f"{loggable(fault.pointer) or 'The answer'}: {fault.detail}")

    return report


def _answer(json_response: Any) -> JSON:
    if not isinstance(json_response, dict):
        kind = type(json_response).__name__
        raise AnswerInvalid("", f"The first thing that the handler returns should be a dict, not {kind}.")
    return json_response if "parts" in json_response else {**json_response, "parts": []}


def _components(buffers: Any) -> list[Buffer]:
    """A stack of arrays counts as the list of them, as it did for the predecessor."""
    if isinstance(buffers, (list, tuple)) or (isinstance(buffers, numpy.ndarray) and buffers.ndim > 1):
        return list(buffers)
    kind = type(buffers).__name__
    raise AnswerInvalid("", f"The second thing that the handler returns should be a list of buffers, not {kind}.")


def _entries(sent: JSON, components: list[Buffer]) -> list[Any]:
    entries = sent["parts"]
    if not isinstance(entries, list):
        raise AnswerInvalid("/parts", "parts should be a list.")
    if len(entries) != len(components):
        raise AnswerInvalid(
            "/parts",
            f"parts has {len(entries)} entries, but the handler returned {len(components)} buffers; "
            "each entry needs one buffer.",
        )
    return entries


def _report_all(found: Iterator[AnswerInvalid], report: Report) -> set[str]:
    """Report each fault; return the indices of the entries of ``parts`` that have one."""
    broken = set()
    for fault in found:
        report(fault)
        if fault.pointer.startswith("/parts/"):
            broken.add(fault.pointer.split("/")[2])
    return broken


def _serialize(serializer: Serializer, answer: JSON, components: list[Buffer]) -> list[BinaryPart]:
    parts = [_part(index, pair) for index, pair in enumerate(serializer(answer, components))]
    if len(parts) != len(components):
        raise ModelFailed(f"The serializer yielded {len(parts)} parts for {len(components)} buffers.")
    return parts


def _part(index: int, pair: Any) -> BinaryPart:
    try:
        media_type, data = pair
    except (TypeError, ValueError):
        raise ModelFailed("The serializer should yield pairs of a media type and data.") from None
    if not isinstance(media_type, str):
        raise ModelFailed("The serializer should yield a media type that is text.")
    return BinaryPart(media_type, _bytes(data.encode() if isinstance(data, str) else data, index))


def _bytes(data: Any, index: int) -> memoryview:
    """``as_bytes``, unless the serializer has called it: a view of a view would hide the array that it lies on."""
    is_done = isinstance(data, memoryview) and (data.format, data.ndim, data.contiguous) == ("B", 1, True)
    return data if is_done else as_bytes(data, pointer(("parts", index)))


def _check_part(index: int, entry: Any, buffer: Buffer, part: BinaryPart, report: Report) -> None:
    """Report the first fault of one part: a mask of the wrong dtype has the wrong size as well."""
    for rule in kind_of(entry).checks:
        if found := rule(entry, buffer, part.data):
            report(AnswerInvalid(pointer(("parts", index, *found.at)), found.sentence))
            return
