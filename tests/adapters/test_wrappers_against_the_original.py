"""The same unmodified wrappers under aiges 0.16.0 and under ours: the same data, schema and verdicts.

The original stays in a virtual environment of its own and, where this runs as root, in a mount namespace in which it
can write to nothing but its own folder: it is known to write to ``/log``.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import Gateway
from gateway.adapters import aiges
from tests.adapters.messages import KIND, body, parts_of
from tests.require import require
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

ORIGINALS, WRAPPERS = Path(__file__).parent / "originals", Path(__file__).parent / "wrappers"
CONFINED = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && cd "$1" && shift && exec "$@"'
ASK = """
import hashlib, json, sys, wrapper
made, seen = wrapper.Wrapper(), []
made.check_resp = lambda response: seen.append(response) or True
made.run()
pieces = [[d.key, d.type, d.status, d.len, hashlib.sha256(d.data).hexdigest()] for d in seen[0].list]
json.dump({"schema": json.loads(made.schema()), "pieces": pieces}, open("seen.json", "w"))
"""

Original = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the original installed, and nothing else that it may write to."""
    folder = tmp_path_factory.mktemp("original")
    python = folder / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, capture_output=True)
    install = [python, "-m", "pip", "install", "--quiet", "--retries", "1", "aiges==0.16.0", "setuptools<81"]
    installed = subprocess.run(install, capture_output=True, text=True)
    require(installed.returncode == 0, "aiges 0.16.0 can be installed from no package index here")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def original(folder: Path) -> Original:
    """Run the original's Python in a folder below its own."""
    confined = ["unshare", "--mount", "sh", "-c", CONFINED, folder]
    if os.geteuid() == 0:
        tried = subprocess.run([*confined, folder, "true"], capture_output=True)
        require(tried.returncode == 0, "root needs mount namespaces to keep aiges from writing to the machine")

    def run(where: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [folder / "venv/bin/python", "-W", "ignore", *words]
        prefix = [*confined, where] if os.geteuid() == 0 else []
        environ = os.environ | {"HOME": str(folder)} | environment
        return subprocess.run(
            [*prefix, *command], cwd=where, env=environ, capture_output=True, text=True, timeout=PATIENCE
        )

    return run


@pytest.fixture
def demo(folder: Path, original: Original) -> Path:
    """The folder of the wrapper that ``aiges create`` writes."""
    shutil.rmtree(folder / "demo", ignore_errors=True)
    assert original(folder, "-m", "aiges", "create", "-n", "demo").returncode == 0
    return folder / "demo/wrapper"


def seen(original: Original, folder: Path) -> Any:
    """The original's schema of ``wrapper.py`` in a folder, and its answer to its own test values."""
    ran = original(folder, "-c", ASK)
    assert ran.returncode == 0, ran.stderr
    return json.loads((folder / "seen.json").read_text())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves the files it reads open
def test_the_wrapper_that_aiges_creates_returns_the_same_data_and_schema(
    demo: Path, original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = seen(original, demo)
    monkeypatch.chdir(demo)  # it opens files relative to its own folder at each call
    app = Gateway(__name__)
    app.add_wrapper_route("/", demo / "wrapper.py")
    picture = (demo / "test_data/test.png").read_bytes()
    request = body({"p1": "3", "p2": "", "p3": ""}, ("data", picture), ("data2", picture), (None, b"ctrl"))
    answer = app.test_client().post("/", data=request, content_type=KIND)
    entries, *pieces, _ = parts_of(answer.headers["Content-Type"], answer.data)
    ours = [
        [*[entry[name] for name in ("key", "type", "status", "len")], hashlib.sha256(piece.data).hexdigest()]
        for entry, piece in zip(json.loads(entries.data)["aiges"], pieces, strict=True)
    ]
    assert ours == theirs["pieces"]
    assert pieces[0].media_type == "image/png"
    assert json.loads(vars(app.service.models["/"])["wrapper"].schema()) == theirs["schema"]
    app.close()
    assert aiges.run(demo / "wrapper.py").good


def test_a_wrapper_with_every_kind_of_field_has_the_same_schema_and_sees_the_same_request(
    folder: Path, original: Original
) -> None:
    (folder / "fields").mkdir(exist_ok=True)
    path = folder / "fields/wrapper.py"
    shutil.copy(ORIGINALS / "fields.py.txt", path)
    theirs = seen(original, path.parent)
    they_saw = json.loads((path.parent / "saw.json").read_text())
    model = aiges.load("/", path)
    schema = model.wrapper.schema()
    assert json.loads(schema) == theirs["schema"]
    assert list(_keys(json.loads(schema))) == list(_keys(theirs["schema"]))
    model.close()
    verdict = aiges.run(path)
    assert verdict.good, verdict.sentence
    assert json.loads((path.parent / "saw.json").read_text()) == they_saw


def _keys(value: Any) -> Iterator[str]:
    """All keys of a schema in their order."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from _keys(below)


ANSWERS = (
    "good",
    "str data",
    "duplicate key",
    "unknown key",
    "status 1",
    "wrong type",
    "None",
    "error with list",
    "error without",
)


def test_the_verdicts_on_nine_answers_agree(folder: Path, original: Original, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "answers").mkdir(exist_ok=True)
    path = folder / "answers/wrapper.py"
    shutil.copy(ORIGINALS / "answers.py", path)
    theirs, ours = {}, {}
    for answer in ANSWERS:
        monkeypatch.setenv("ANSWER", answer)
        said = original(path.parent, "wrapper.py").stderr
        assert ("has been verified" in said) != ("Please Check The Log" in said), said
        theirs[answer] = "has been verified" in said
        ours[answer] = aiges.run(path).good
    assert ours == theirs
    assert {answer for answer, good in ours.items() if good} == {"good", "error with list"}


def test_a_stream_with_keys_that_are_not_declared_runs_to_its_end_under_both(folder: Path, original: Original) -> None:
    (folder / "stream").mkdir(exist_ok=True)
    path = folder / "stream/wrapper.py"
    text = (WRAPPERS / "stream.py").read_text().replace("aiges.types", "aiges.core.types")  # 0.16.0 lacks the former
    path.write_text(text.replace('word.key = "word"', 'word.key = "other"'))
    ran = original(path.parent, "-c", "import wrapper; wrapper.Wrapper().run(stream=True)")
    assert (ran.returncode, ran.stdout.count("end!!!!")) == (0, 1), ran.stderr
    assert aiges.run(path).sentence == "the wrapper keeps its contract; it answered with other"


def test_a_wrapper_with_one_verb_of_a_stream_runs_once_under_both(folder: Path, original: Original) -> None:
    (folder / "answers").mkdir(exist_ok=True)
    path = folder / "answers/wrapper.py"
    verb, create = "    def wrapperFini(self)", "    def wrapperCreate(self, params, sid):\n        return 'handle'\n\n"
    path.write_text((ORIGINALS / "answers.py").read_text().replace(verb, create + verb))
    assert "has been verified" in original(path.parent, "wrapper.py").stderr
    assert aiges.run(path).good


@pytest.mark.parametrize("verb", ["INIT", "FINI"])
def test_a_wrapper_that_does_not_start_or_end_is_passed_by_the_original_and_not_by_the_gateway(
    folder: Path, original: Original, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    (folder / "answers").mkdir(exist_ok=True)
    path = folder / "answers/wrapper.py"
    shutil.copy(ORIGINALS / "answers.py", path)
    monkeypatch.setenv(verb, "7")
    assert "has been verified" in original(path.parent, "wrapper.py").stderr
    assert not aiges.run(path).good


def test_the_original_left_nothing_on_the_machine(folder: Path, original: Original) -> None:
    before = Path("/log").exists()
    original(folder, "-c", "import aiges.callback")  # the one that writes
    assert Path("/log").exists() == before
