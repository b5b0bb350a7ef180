"""The contract's names without aiges: their modules, their behaviour, and the verdict of a local run."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import Gateway
from gateway.adapters import aiges
from gateway.adapters.aiges.constants import DataOnce
from gateway.adapters.aiges.data import DataListCls, DataListNode, Response, ResponseData
from gateway.adapters.aiges.fields import BooleanParamField, IntegerParamField, NumberParamField, StringParamField
from gateway.adapters.aiges.wrapper_answers import Rules, read_items
from gateway.adapters.aiges.wrapper_parameters import WrapperParameterRefused, read_params
from gateway.cli import main
from gateway.dicom.samples import phantom
from tests.adapters.messages import KIND, body, parts_of
from tests.conftest import ROOT

WRAPPERS = Path(__file__).parent / "wrappers"

WRAPPER = """
{imports}
from aiges.sdk import *
class Fields:
    p = NumberParamField(key="p", minimum=1, maximum=2, value={value})
    text = StringBodyField(key="text", value=b"x")
class Wrapper(WrapperBase):
    serviceId, version = "s", "v"
    requestCls = responseCls = Fields()
    def wrapperInit(self, config):
        from aiges.types import Once
        {init}
    def wrapperOnceExec(self, params, reqData):
        from aiges.stream import StreamHandleThread
        {body}
        return Response()
    def wrapperFini(self):
        {fini}
    {more}
"""


def write(path: Path, **parts: Any) -> Path:
    """A wrapper that returns a Response with one undeclared piece besides the expected parts."""
    path.parent.mkdir(exist_ok=True)
    whole = {"imports": "", "value": 1, "init": "return 0", "body": "", "fini": "return 0", "more": ""} | parts
    path.write_text(WRAPPER.format(**whole))
    return path


GOOD = "d = ResponseData('text', b'y'); r = Response(); r.list = [d]; return r"


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"body": GOOD}, "the wrapper keeps its contract; it answered with text"),
        ({"body": "return Response().response_err(3)"}, "it answered with error code 3"),
        ({}, "The key is not declared in responseCls."),
        ({"body": "return 1"}, "The wrapper should return a Response."),
        ({"body": "raise ValueError('why')"}, "wrapperOnceExec raised ValueError: why"),
        ({"body": GOOD, "init": "return 4"}, "wrapperInit failed. Its error code is 4."),
        ({"body": GOOD, "init": "raise OSError"}, "The wrapper did not start: its wrapperInit raised an exception."),
        ({"body": GOOD, "init": "pass"}, "The wrapper's wrapperInit should return 0 or an error code."),
        ({"body": GOOD, "fini": "return 4"}, "wrapperFini failed. Its error code is 4."),
        ({"body": GOOD, "fini": "raise OSError"}, "The wrapper's wrapperFini raised an exception."),
        ({"body": GOOD, "value": 3}, "The parameter p should be from 1 to 2."),
        ({"imports": "import no_such_module"}, "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_the_local_run_reports_the_fault_and_ends_with_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], parts: dict[str, Any], sentence: str
) -> None:
    status = main(["run", str(write(tmp_path / "wrapper.py", **parts))])
    said = capsys.readouterr()
    assert status == (0 if "answered" in sentence else 1)
    assert sentence in said.out + said.err


CREATES = "def wrapperCreate(self, params, sid): return 'handle'"


def test_a_wrapper_that_accepts_no_request_in_a_session_is_no_stream(tmp_path: Path) -> None:
    path = write(tmp_path / "wrapper.py", body=GOOD, more=CREATES)
    assert aiges.run(path).good
    app = Gateway(__name__)
    app.add_wrapper_route("/", path)
    answer = app.test_client().post("/", data=body({}, ("text", b"x")), content_type=KIND)
    assert [part.data for part in parts_of(answer.headers["Content-Type"], answer.data)[1:-1]] == [b"y"]
    app.close()


def test_a_fault_of_content_is_accepted_where_the_settings_are_lenient(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_STRICT", "0")
    path = write(tmp_path / "wrapper.py")
    assert main(["run", str(path)]) == 0
    assert "The key is not declared in responseCls." in capsys.readouterr().out
    assert main(["run", str(write(tmp_path / "wrapper.py", body="return 1"))]) == 1


@pytest.mark.parametrize("strict", [True, False])
def test_a_wrapper_that_runs_itself_heeds_the_settings_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strict: bool
) -> None:
    monkeypatch.setenv("GATEWAY_STRICT", str(int(strict)))
    model = aiges.load("/", write(tmp_path / "wrapper.py"))
    with pytest.raises(SystemExit) if strict else nullcontext():
        model.wrapper.run()
    model.close()


def test_a_streaming_wrapper_is_judged_by_its_stream(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(WRAPPERS / "stream.py")]) == 0
    assert "answered with word" in capsys.readouterr().out


def test_the_local_run_reads_a_study_from_beside_the_wrapper(tmp_path: Path) -> None:
    phantom.write(tmp_path / "phantom", slices=3, size=16)
    path = tmp_path / "wrapper.py"
    path.write_text((WRAPPERS / "study.py").read_text())
    verdict = aiges.run(path)
    assert verdict.sentence == "the wrapper keeps its contract; it answered with found, first"


def test_the_local_run_of_a_missing_file_fails_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nowhere.py"]) == 1
    assert capsys.readouterr().err == "error: nowhere.py is not a file\n"


def test_the_modules_of_aiges_are_there_while_a_wrapper_lives_and_no_longer(tmp_path: Path) -> None:
    first = aiges.load("/a", write(tmp_path / "a/wrapper.py"))
    second = aiges.load("/b", write(tmp_path / "b/wrapper.py"))
    first.close()
    assert "aiges.sdk" in sys.modules
    second.setup()  # imports aiges.types
    second.check_started()
    second.close()
    assert not [name for name in sys.modules if name.partition(".")[0] == "aiges"]
    with pytest.raises(ModuleNotFoundError):
        __import__("aiges.sdk")


def test_two_wrappers_have_each_their_own_helper_modules(tmp_path: Path) -> None:
    models, path = [], list(sys.path)
    for word in ("one", "two"):
        write(tmp_path / word / "wrapper.py", imports="import helper", init=f"assert helper.WORD == '{word}'; return 0")
        (tmp_path / word / "helper.py").write_text(f"WORD = '{word}'")
        models.append(aiges.load(f"/{word}", tmp_path / word / "wrapper.py"))
        models[-1].setup()
    assert [model.check_started() for model in models] == [None, None]
    for model in models:
        model.close()
    assert sys.path == path


def test_an_aiges_that_is_installed_is_used_instead(tmp_path: Path) -> None:
    for name, text in {
        "__init__": "",
        "sdk": "class Field: pass\nParamField = PayloadField = Field\ncallback = None\nclass Response: pass\n"
        "class WrapperBase:\n    requestCls = responseCls = config = None",
    }.items():
        (tmp_path / "aiges").mkdir(exist_ok=True)
        (tmp_path / f"aiges/{name}.py").write_text(text)
    verbs = "wrapperInit = wrapperOnceExec = wrapperFini = lambda *_: 0"
    (tmp_path / "wrapper.py").write_text(f"from aiges.sdk import *\nclass Wrapper(WrapperBase):\n    {verbs}\n")
    script = (
        "import sys; from pathlib import Path; from gateway.adapters import aiges\n"
        f"model = aiges.load('/', Path({str(tmp_path / 'wrapper.py')!r}))\n"
        "print(type(model.wrapper).__mro__[1].__module__, sys.modules['aiges.sdk'].__file__)"
    )
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["aiges.sdk", str(tmp_path / "aiges/sdk.py")]


def test_response_data_is_filled_by_attributes_or_by_setters() -> None:
    plain, other = ResponseData(), ResponseData()
    plain.data, plain.len, plain.type = b"abc", 3, 2
    other.setData(b"abc")
    other.setDataType(2)
    assert [(d.data, d.len, d.type, d.status) for d in (plain, other)] == [(b"abc", 3, 2, 3)] * 2
    with pytest.raises(ValueError, match="data type"):
        other.setDataType(4)


def test_an_answer_stays_as_it_is_when_its_wrapper_fills_the_buffer_again() -> None:
    response, buffer = Response(), bytearray(b"one")
    response.list = [ResponseData("a", memoryview(buffer), status=DataOnce), ResponseData("b", b"two", status=DataOnce)]
    items = read_items(response, Rules(Response, None), report=print, explain=str)
    buffer[:] = b"new"
    assert [bytes(item.data) for item in items] == [b"one", b"two"]


def test_an_error_response_and_a_lookup_by_key() -> None:
    assert Response().response_err(7).error_code == 7
    node, request = DataListNode(), DataListCls()
    node.key, request.list = "k", [node]
    assert request.get("k") is node
    assert request.get("other") is None


FIELDS = [
    NumberParamField(key="number", minimum=-1, maximum=1),
    IntegerParamField(key="whole", enums=[1, 2]),
    BooleanParamField(key="flag"),
    StringParamField(key="word", minLength=1, maxLength=3),
]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"number": "0.5", "whole": "2", "flag": "TRUE"}, {"number": 0.5, "whole": 2, "flag": True}),
        ({"number": 1, "whole": 1.0, "flag": False}, {"number": 1, "whole": 1, "flag": False}),
        ({"word": "abc", "other": [1]}, {"word": "abc", "other": [1]}),
    ],
)
def test_declared_parameters_are_read_from_text_and_others_left_alone(given: Any, read: Any) -> None:
    assert read_params(FIELDS, given) == read


@given(
    st.sampled_from(["number", "whole", "flag", "word"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())),
)
def test_a_value_that_matches_passes_and_another_is_refused_without_its_value(key: str, value: Any) -> None:
    try:
        read = read_params(FIELDS, {key: value})[key]
    except WrapperParameterRefused as refused:
        assert refused.detail.startswith(f"The parameter {key} should be ")
        return
    fits = {
        "number": lambda: -1 <= read <= 1,
        "whole": lambda: read in (1, 2),
        "flag": lambda: isinstance(read, bool),
        "word": lambda: 1 <= len(read) <= 3,
    }
    assert fits[key]()
