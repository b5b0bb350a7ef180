"""The body of a run: the JSON of a query or of a command, and the files of its session."""

import json
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, BinaryIO

from gateway.endpoints.backendai.compute_sessions import ComputeSession
from gateway.endpoints.backendai.session_files import SessionFile, SessionFiles
from gateway.intake.body import READ_SIZE, Body, Piece
from gateway.service.service import Service
from gateway.wire import OutgoingPart, content_length, encode, new_boundary

STUDY_PATH = "studyPath"


@contextmanager
def body_of(session: ComputeSession, words: dict[str, Any], files: SessionFiles, service: Service) -> Iterator[Body]:
    """A body of protocol 1.0: JSON that names a study alone, all other JSON with the files of the session.

    Raises SessionFileNotFound, while it is read, for a file that has gone.
    """
    text, resolver = json.dumps(words).encode(), service.resolver(session.caller)
    if STUDY_PATH in words or (resolver is not None and resolver.names(words)):
        yield Body("application/json", "", len(text), iter([text]))
        return
    boundary = new_boundary()
    parts = [OutgoingPart.named("json", "application/json", text), *(_part(files, each) for each in files.all(session))]
    with closing(_pieces(boundary, parts)) as pieces:
        yield Body(f"multipart/related; boundary={boundary}", "", content_length(boundary, parts), pieces)


def _pieces(boundary: str, parts: list[OutgoingPart]) -> Generator[Piece, None, None]:
    yield from encode(boundary, parts)


def _part(files: SessionFiles, file: SessionFile) -> OutgoingPart:
    media_type = "application/dicom" if file.study else "application/octet-stream"
    name = OutgoingPart.named(file.path.encode("ascii", "replace").decode(), media_type, b"")
    return OutgoingPart(name.headers, file.size, _read(files, file))


def _read(files: SessionFiles, file: SessionFile) -> Iterator[bytes]:
    opened: BinaryIO = files.open(file)
    with opened:
        while piece := opened.read(READ_SIZE):
            yield piece
