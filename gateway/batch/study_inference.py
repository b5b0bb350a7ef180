"""The inference of one study of an archive: its files in, an answer or a sentence out. A door without a network."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from gateway.batch.study_finder import FoundStudy
from gateway.client.answer import Answer
from gateway.client.errors import SourceUnreadable
from gateway.client.result import InferenceCall, InferenceResult
from gateway.client.study_files import spatial
from gateway.client.unreadable import Skipping
from gateway.contract.model import Model
from gateway.contract.requests import Result
from gateway.errors import GatewayError, Unavailable
from gateway.intake.receiving import Received, ReceiveOptions, Source, receive_files
from gateway.service.exchange import Exchange, Head, new_request_id
from gateway.service.service import Service

DOOR = "batch"


class ModelNotStarted(GatewayError):
    """The model could not be set up, or has no device: no study will be answered."""


class StudyInference:
    """Runs one model of an open service on studies. Threads may share it."""

    def __init__(
        self, service: Service, model: Model, parameters: Mapping[str, Any], *, skip_unreadable: bool = False
    ) -> None:
        """``parameters`` are the members of each request's JSON."""
        self._service, self._model = service, model
        self._parameters = parameters
        self._skip_unreadable = skip_unreadable

    @contextmanager
    def answered(self, study: FoundStudy) -> Iterator[tuple[InferenceResult, float]]:
        """Yield the result, whose buffers are valid within the block, and the seconds of the model.

        Waits for a model that is busy or starts again, as long as one request may take. Raises StudyUnreadable,
        StudyRefused, and what ``Exchange.receive`` and ``infer`` raise.
        """
        skipping = Skipping(self._skip_unreadable)
        skipping.skip(study.broken)
        source = spatial(study.files, skipping)
        with self.answered_files(self._parameters, [instance.source for instance in source]) as (answer, seconds):
            call = InferenceCall(self._model.name, self._parameters, datetime.now(UTC))
            yield InferenceResult(answer, tuple(source), call, skipping.files), seconds

    @contextmanager
    def answered_files(
        self, words: Mapping[str, Any], files: Sequence[Path | BinaryIO]
    ) -> Iterator[tuple[Answer, float]]:
        """Yield the answer on files with a request's JSON, and the seconds of the model. Raises as ``answered``."""
        exchange, result = self._inferred(partial(_receive, json.dumps(words).encode(), files))
        with exchange:
            exchange.answer(result)
            yield _answer(exchange, result), result.seconds
        exchange.close()

    def _inferred(self, source: Source) -> tuple[Exchange, Result]:
        """Return the open exchange and its result, as soon as the model takes a request. Raises ModelNotStarted."""
        deadline = time.monotonic() + self._service.settings.request_timeout
        while True:
            try:
                head = Head(door=DOOR, request_id=new_request_id())
                with self._service.open_exchange(self._model, head) as exchange:
                    return exchange, exchange.infer(exchange.receive(source))
            except Unavailable as error:
                if self._service.fatal:
                    raise ModelNotStarted(self._service.fatal) from error
                if time.monotonic() + error.retry_after > deadline:
                    raise
                time.sleep(error.retry_after)


def _receive(words: bytes, files: Sequence[Path | BinaryIO], options: ReceiveOptions) -> Received:
    size = len(words) + sum(map(_size, files))
    options.ticket.expect(size)
    return receive_files(words, map(_opened_file, files), options, expected=size)


def _size(file: Path | BinaryIO) -> int:
    if isinstance(file, Path):
        return file.stat().st_size if file.exists() else 0
    return file.seek(0, os.SEEK_END)


def _opened_file(file: Path | BinaryIO) -> BinaryIO:
    if not isinstance(file, Path):
        file.seek(0)
        return BytesIO(file.read())  # which is closed once it is read: pictures are drawn from the file itself
    try:
        return file.open("rb")
    except OSError as error:
        raise SourceUnreadable(f"{file.name} cannot be read any more: {error.strerror}.") from error


def _answer(exchange: Exchange, result: Result) -> Answer:
    return Answer(
        json=json.loads(result.json_bytes),
        buffers=tuple(part.data for part in result.parts),
        media_types=tuple(part.media_type for part in result.parts),
        input_digest=result.input_digest,
        output_digest=exchange.finish(),
        request_id=exchange.head.request_id,
        model=result.card.name,
        model_version=result.card.version,
    )
