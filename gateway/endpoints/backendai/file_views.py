"""Files of a session over HTTP: uploaded, listed, and downloaded as archives, with the results of its runs."""

import json
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO

import flask

from gateway.adapters.backendai.archives import ArchivedFile, archive, archive_size
from gateway.adapters.backendai.session_paths import HOME, RESULTS, folder_path, uploaded_path
from gateway.endpoints.backendai.compute_sessions import ComputeSession
from gateway.endpoints.backendai.door import door, session, words
from gateway.endpoints.backendai.executing import OVER, result_names
from gateway.endpoints.backendai.session_files import Upload
from gateway.endpoints.guarded_views import Rule, admission_ticket
from gateway.endpoints.store_views import store_context
from gateway.errors import BrokenBody, GatewayError, ParameterRefused, SessionFileNotFound
from gateway.intake.chunks import received_form
from gateway.runs.lifecycle import RunState
from gateway.wire import (
    Data,
    EndOfPart,
    Headers,
    OutgoingPart,
    Part,
    new_boundary,
    parse_options_header,
    sized,
)

FIELD = "src"
MAX_DOWNLOADS = 1_000
"""Paths of one download."""


def _upload(name: str) -> flask.Response:
    found, store = session(name), store_context().store
    with admission_ticket() as ticket, Upload(store) as upload:
        with closing(received_form(flask.request.environ, store.settings, ticket)) as events:
            for event in events:
                match event:
                    case Data(data):
                        upload.write(data)
                    case Part(headers):
                        upload.begin(_path(headers))
                    case EndOfPart():
                        upload.end()
        ticket.reclaim()
        door().files.keep(found, upload)
    return flask.Response(status=204)


def _path(headers: Headers) -> str:
    """Return the path of an uploaded part. Raises BrokenBody for another part, KeyRefused."""
    word, options = parse_options_header(headers.get("Content-Disposition", ""))
    if word != "form-data" or options.get("name") != FIELD or "filename" not in options:
        raise BrokenBody(f"Each part should be a file in the field {FIELD}: form-data; name={FIELD}; filename=...")
    return uploaded_path(options["filename"])


def _list(name: str) -> flask.Response:
    found = session(name)
    folder = folder_path(_text(words().get("path", "."), "path"))
    entries: dict[str, dict[str, Any]] = {}
    for file in _all(found, folder):
        below = file.name.removeprefix(f"{folder}/") if folder else file.name
        first, deeper, _ = below.partition("/")
        entry = {"mode": "drwxr-xr-x" if deeper else "-rw-r--r--", "size": 0 if deeper else file.size}
        entries.setdefault(first, entry | {"ctime": file.stored_at, "mtime": file.stored_at, "atime": file.stored_at})
    if folder and not entries:
        raise SessionFileNotFound("The session has no file or folder of this path.")
    listed = [{"filename": first, **entry} for first, entry in sorted(entries.items())]
    return flask.jsonify({"files": json.dumps(listed), "errors": "", "folder_path": f"{HOME}{folder}"})


def _download(name: str) -> flask.Response:
    found, paths = session(name), words().get("files")
    if not isinstance(paths, list) or not 0 < len(paths) <= MAX_DOWNLOADS:
        raise ParameterRefused([("/files", f"files should be a list of 1 to {MAX_DOWNLOADS} paths.")])
    archives = [_archived(found, folder_path(_text(path, "files"))) for path in paths]
    boundary = new_boundary()
    length, pieces = sized(boundary, map(_part, archives))
    media_type = f'multipart/mixed; boundary="{boundary}"'
    return flask.Response(map(bytes, pieces), headers={"Content-Length": str(length)}, content_type=media_type)


def _part(files: list[ArchivedFile]) -> OutgoingPart:
    return OutgoingPart((("Content-Type", "application/x-tar"),), archive_size(files), archive(files))


def _archived(found: ComputeSession, path: str) -> list[ArchivedFile]:
    """Return a file, or all of a folder, each named from the last name of ``path`` on, as Docker's archives are."""
    above = path.rpartition("/")[0]
    chosen = _all(found, path)
    if not chosen:
        raise SessionFileNotFound("The session has no file or folder of this path.")
    return [ArchivedFile(_from(above, each.name), each.size, each.stored_at, each.open) for each in chosen]


def _from(above: str, name: str) -> str:
    return name.removeprefix(f"{above}/") if above else name


def _all(found: ComputeSession, path: str) -> list[ArchivedFile]:
    """Return the file of a path, or all files below it, by name; "" is the session's folder."""
    files = door().files
    uploaded = (
        ArchivedFile(each.path, each.size, each.stored_at, partial(files.open, each)) for each in files.all(found)
    )
    is_above = path.partition("/")[0] == RESULTS or not path
    everything = [*uploaded, *(_results(found) if is_above else ())]
    chosen = [each for each in everything if not path or each.name == path or each.name.startswith(f"{path}/")]
    return sorted(chosen, key=lambda each: each.name)


def _results(found: ComputeSession) -> Iterator[ArchivedFile]:
    """Yield the files of the results of a session's executions, as far as they are stored still."""
    runs = door().executions.runs
    for row in door().sessions.executions(found):
        if row.stage != OVER:
            continue
        try:
            run = runs.get(found.caller, row.run)
            if run.state is not RunState.FINISHED:
                continue
            result = runs.result(found.caller, row.run).result
        except GatewayError:  # forgotten, or expired
            continue
        data = [memoryview(result.json_bytes), *(part.data for part in result.parts)]
        names = result_names([part.media_type for part in result.parts])
        for name, content in zip(names, data, strict=True):
            path = f"{RESULTS}/{row.id}/{name}"
            yield ArchivedFile(path, content.nbytes, run.ended_at or 0.0, partial(_opened, content))


def _opened(content: memoryview) -> BinaryIO:
    return BytesIO(content)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ParameterRefused([(f"/{name}", f"{name} should be text.")])
    return value


RULES: tuple[Rule, ...] = (
    ("POST", "/<name>/upload", _upload),
    ("GET", "/<name>/files", _list),
    ("GET", "/<name>/download", _download),
)
