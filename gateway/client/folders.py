"""A folder for an answer: files of an earlier answer are replaced whole, and other files are never touched."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gateway.client.answer import Answer
from gateway.client.errors import ClientError, printable

MANIFEST = ".gateway-answer.json"
"""The list of the files that were written, in the folder itself."""
ASIDE = {"Thumbs.db", "desktop.ini"}
"""Files that a desktop leaves in any folder, beside hidden ones."""
NAMED = 3
"""Files that an error names."""


class WrittenFile(NamedTuple):
    """A written file: the method that wrote it, its size in bytes and its time of change, both to recognise it."""

    method: str
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path, method: str) -> "WrittenFile":
        """Describe a file."""
        stat = path.lstat()
        return cls(method, stat.st_size, stat.st_mtime_ns)


class AnswerFiles(NamedTuple):
    """The files of one answer by name; ``answer`` are its digests, of input and output."""

    answer: str = ""
    files: Mapping[str, WrittenFile] = {}


def require_free(out: Path) -> AnswerFiles:
    """Return the files of the earlier answer in ``out``. Raises ClientError where there are others, OSError."""
    manifest = _read(out / MANIFEST)
    paths = sorted(out.iterdir()) if out.exists() else []
    others = [path.name for path in paths if not _is_aside(path) and not _is_in(manifest, path)]
    if others:
        named = ", ".join(map(printable, others[:NAMED])) + (" ..." if len(others) > NAMED else "")
        raise ClientError(
            f"{out} has files that are not those of an earlier answer, or were changed since: {named}. "
            "Name an empty folder, or remove them."
        )
    return manifest


@contextmanager
def replacing(out: Path, answer: Answer, method: str) -> Iterator[Path]:
    """Yield an empty folder, whose files then appear in ``out`` all together, or not at all.

    They replace those of another answer, and those that ``method`` wrote of the same one. Raises as ``require_free``.
    """
    earlier, identity = require_free(out), f"{answer.input_digest}:{answer.output_digest}"
    out.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".answer-", dir=out))
    try:
        yield fresh
        same = earlier.files.items() if earlier.answer == identity else ()
        retained = {name: entry for name, entry in same if entry.method != method}
        files = {path.name: WrittenFile.of(path, method) for path in sorted(fresh.iterdir())}
        (fresh / MANIFEST).write_text(json.dumps(AnswerFiles(identity, retained | files)._asdict()), "utf-8")
        for name in earlier.files.keys() - retained.keys():
            (out / name).unlink(missing_ok=True)
        for name in (MANIFEST, *files):  # the list first: a file that it lacks could not be replaced later
            (fresh / name).replace(out / name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _is_aside(path: Path) -> bool:
    return path.name.startswith(".") or path.name in ASIDE


def _is_in(manifest: AnswerFiles, path: Path) -> bool:
    entry = manifest.files.get(path.name)
    return entry is not None and path.is_file() and entry == WrittenFile.of(path, entry.method)


def _read(path: Path) -> AnswerFiles:
    """Read a manifest; one that is absent or invalid lists no files, and its folder counts as another's."""
    try:
        document = json.loads(path.read_text("utf-8"))
        files = {name: WrittenFile(*entry) for name, entry in document["files"].items() if Path(name).name == name}
        return AnswerFiles(str(document["answer"]), files)
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return AnswerFiles()
