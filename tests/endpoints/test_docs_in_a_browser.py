"""``/docs`` in a real browser: a study that is chosen there is sent, and its answer shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from gateway.cli import main
from gateway.dicom.samples import phantom
from tests.conftest import Serve
from tests.endpoints.browser import CHROMIUM, Page, browsing
from tests.require import require
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    require(CHROMIUM, "chromium is not installed")
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("study")
    phantom.write(folder, slices=4, size=64)
    (folder / "notes.txt").write_text("not an instance")
    return sorted(folder.iterdir())


def send(page: Page, study: list[Path], model: str, json: str = "{}") -> None:
    page.choose("#files", study)
    page.wait("#chosen", "4 DICOM files; 1 others are left out")
    page.run(f"document.querySelector('#model').value = {model!r}; document.querySelector('#json').value = {json!r}")
    page.run("document.querySelector('#send').click()")


def test_a_chosen_study_is_sent_and_its_findings_are_listed(
    page: Page, study: list[Path], serve: Serve, tmp_path: Path
) -> None:
    page.go(f"{serve('tests.client.service:app').url}/docs")
    page.wait("#model", "/everything")
    page.failures.clear()
    send(page, study, "/everything", '{"threshold": 250}')
    assert "by everything 1.0." in page.wait("#outcome", "Answered")
    found = page.text("#findings")
    for words in (
        "boolean mask\tdense\t1 x 4 x 64 x 64",
        "bounding box\tbox",
        "label\tside\tleft",
        "label\tscore\t0.5",
    ):
        assert words in found
    assert page.run("document.querySelectorAll('#masks canvas').length") == 4
    assert page.run(
        "document.querySelector('#masks canvas').getContext('2d').getImageData(0, 0, 64, 64).data"
        ".filter((value, index) => index % 4 === 2 && value === 255).length > 20"
    )
    send(page, study, "/dense", '{"output": "dicom"}')
    page.wait("#findings", "part_0.dcm")
    page.save_downloads(tmp_path)
    page.run("document.querySelector('#findings a').click()")
    assert eventually(lambda: [dcmread(path).Modality for path in tmp_path.glob("*.dcm")]) == ["SEG"]
    assert page.failures == []


def test_a_refusal_is_shown_with_its_reason_and_its_request(page: Page, study: list[Path], serve: Serve) -> None:
    page.go(f"{serve('tests.client.service:app').url}/docs")
    page.wait("#model", "/mr")
    send(page, study, "/mr")
    assert "MR" in page.wait("#outcome", "Refused (422)")


def test_with_keys_the_key_of_the_page_is_sent_too(
    page: Page, study: list[Path], serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.json"
    assert main(["keys", "add", "viewer", "--roles", "infer", "--file", str(file)]) == 0
    key = capsys.readouterr().out.strip()
    page.go(f"{serve('tests.client.service:app', GATEWAY_API_KEYS_FILE=str(file)).url}/docs")
    page.wait("#about", "needs a key")
    assert page.run("document.querySelector('#try').hidden")
    page.run(f"document.querySelector('#key').value = {key!r}; document.querySelector('#use').click()")
    page.wait("#model", "/dense")
    send(page, study, "/dense")
    page.wait("#findings", "boolean mask\tdense\t1 x 4 x 64 x 64")
