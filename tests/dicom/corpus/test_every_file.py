"""Every file of pydicom's package has the pixels that a second decoder finds, or is refused in words with a code."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from pydicom import dcmread
from requests_toolbelt import MultipartDecoder

from gateway.errors import RequestError
from tests.apps.corpus import app
from tests.binding.asking import Answer, ask, related
from tests.conftest import Serve, Server
from tests.dicom.corpus.outcomes import (
    DOORS,
    PACKAGE,
    Trial,
    expected,
    expected_kinds,
    files,
    further_files,
    name_of,
)
from tests.require import require
from tests.waiting import PATIENCE

pytestmark = pytest.mark.heavy

TEXTS = {"PN", "LO", "SH", "ST", "LT", "UT", "DA"}
SHORTEST = 6
"""Characters of a value that stands in a log by its own meaning and not by chance."""

SENT = [
    "CT_small.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "JPEG2000.dcm",
    "SC_rgb_rle_2frame.dcm",
    "examples_palette.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "MR_truncated.dcm",
    "badVR.dcm",
    "reportsi.dcm",
    "dicomdirtests/98892001/CT5N",
]
"""Files that are also sent to a real server: one of each kind, and of each decoder."""


def post(route: str, contents: list[bytes], form: str) -> Answer:
    return ask(app, route, contents, output=form)


def patient_values(path: Path) -> set[str]:
    """The texts of a file, in its own words, that no log may contain."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the file may be broken on purpose
        elements = [each for each in dcmread(path, force=True).iterall() if each.VR in TEXTS and each.tag.group > 2]
        return {text for each in elements if len(text := str(each.value).strip()) >= SHORTEST}


def check_problems(trial: Trial) -> None:
    """Each refusal is one of ours, and says what is wrong."""
    codes = {f"urn:gateway:problem:{kind.code}" for kind in RequestError.__subclasses__()}
    for problem in trial.problems:
        assert problem["type"] in codes
        assert len(problem["detail"].split()) > 3


def test_the_table_has_a_row_for_each_file() -> None:
    """A release of pydicom with further files needs a row for each in outcomes.json."""
    assert {name_of(path) for path in files()} == set(expected_kinds())


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_a_file_has_its_outcome_at_each_way_in(
    path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    trial = Trial(path, post)
    assert trial.outcome() == expected(path)
    check_problems(trial)
    said = caplog.text + "".join(capfd.readouterr()) + json.dumps(trial.problems, ensure_ascii=False)
    for each in trial.paths:
        assert not {value for value in patient_values(each) if value in said}


@pytest.mark.slow
def test_a_file_of_the_further_package_is_read_right_or_refused() -> None:
    paths = further_files()
    require(paths, "the package pydicom-data is not installed")
    for path in paths:
        trial = Trial(path, post)
        found = set(trial.outcome().values())
        assert not {term for term in found if "differs" in term or term.startswith("5")}, name_of(path)
        check_problems(trial)


@pytest.fixture(scope="module")
def server(serve: Serve) -> Iterator[Server]:
    yield serve("tests.apps.corpus:app")


@pytest.mark.parametrize("name", SENT)
def test_a_server_answers_as_the_application_does(server: Server, name: str) -> None:
    def send(route: str, contents: list[bytes], form: str) -> Answer:
        headers = {"Content-Type": "multipart/related; boundary=b"}
        body = related({"output": form}, contents)
        response = requests.post(server.url + route, data=body, headers=headers, timeout=PATIENCE)
        if response.status_code != 200:
            return Answer(response.status_code, response.json(), [])
        parts = MultipartDecoder.from_response(response).parts
        return Answer(200, json.loads(parts[0].text), [part.content for part in parts[1:-1]])

    path = PACKAGE / "test_files" / name
    trial, terms = Trial(path, send), expected(path)
    for route, form in DOORS:
        assert trial.answered(route, form) == terms[f"{route} {form}"]
    for each in trial.paths:
        assert not {value for value in patient_values(each) if value in server.log}
