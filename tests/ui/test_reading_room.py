"""What a person does on the page, in a real browser: open, look, run, compare, click, save."""

import io
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from pydicom import dcmread

from gateway import Client
from gateway.testing import dice, phantom_study
from tests.conftest import Serve
from tests.ui.opened_page import OpenedPage, opened_page

pytestmark = pytest.mark.server

VOXEL_ML = (360 / 128) ** 2 * 10 / 1000
"""Of the phantom: 360 mm in 128 pixels, 160 mm in 16 slices."""
MIDDLE = 8, 64, 64
FOCUSED = (
    "(({ariaLabel, textContent}) => ariaLabel || textContent)(document.querySelector(':focus') ?? {textContent: ''})"
)


@pytest.fixture(scope="module")
def url(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A gateway with a store that is searched."""
    store = str(tmp_path_factory.mktemp("store"))
    return serve("tests.apps.shown:app", GATEWAY_STORE_FOLDER=store, GATEWAY_DICOMWEB="1").url


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    phantom_study(folder)
    return folder


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[OpenedPage]:
    with opened_page(browser, url) as page:
        yield page


def test_a_folder_is_seen_at_once_and_its_segmentation_over_it(page: OpenedPage, url: str, study: Path) -> None:
    page.open(study)
    assert "CT · no. 1 · 16 images · 128 × 128" in page.page.inner_text(".series")
    assert page.pixels().max() > 200 and page.coloured() < 200
    page.choose("/segmentation-3d")
    page.page.wait_for_selector(".fits")
    text = page.run("/segmentation-3d")
    with Client(url) as client:
        body, tissue = client.infer(study, "/segmentation-3d").masks
    for region in (body > 127, tissue == 1, tissue == 2):
        assert f"{region.sum() * VOXEL_ML:.1f} ml" in text
    assert page.coloured() > 20_000
    page.page.get_by_role("checkbox", name="Show", exact=True).uncheck()
    assert page.coloured() < 200


def test_files_that_are_dropped_are_opened_and_others_listed_in_the_gateway_s_words(
    page: OpenedPage, study: Path
) -> None:
    page.page.evaluate(
        """([picture, other]) => {
            const transfer = new DataTransfer();
            const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes(picture)], "one.dcm"));
            transfer.items.add(new File([bytes(other)], "letter.txt"));
            const drop = new DragEvent("drop", {dataTransfer: transfer, bubbles: true});
            document.querySelector(".page").dispatchEvent(drop);
        }""",
        [_base64(next(study.iterdir()).read_bytes()), _base64(b"Dear colleague")],
    )
    page.page.wait_for_selector("p.hint:has-text('1 of 2 files are pictures')")
    page.page.get_by_text("1 file is not a picture").click()
    assert "letter.txt" in page.page.inner_text(".refused") and "DICOM" in page.page.inner_text(".refused")


def test_two_parameters_are_compared_by_dice_and_volume(page: OpenedPage, url: str, study: Path) -> None:
    page.open(study)
    page.run("/segmentation-3d", Bone=250)
    page.run("/segmentation-3d", Bone=400)
    page.page.get_by_role("tab", name="Compare").click()
    with Client(url) as client:
        one, other = (client.infer(study, "/segmentation-3d", {"bone": bone}).masks[1] == 2 for bone in (250, 400))
    figures = page.page.locator(".figures tr", has_text="Bone").locator("td").all_inner_texts()
    assert figures == [f"{one.sum() * VOXEL_ML:.1f}", f"{other.sum() * VOXEL_ML:.1f}", f"{dice(one, other):.3f}"]
    page.page.get_by_role("checkbox", name="Show the difference").check()
    assert 200 < page.coloured() < 20_000  # the rim of the bones alone


def test_a_region_grows_from_clicks_shrinks_and_takes_one_back(page: OpenedPage, url: str, study: Path) -> None:
    page.open(study)
    page.choose("/region-growing")
    page.page.get_by_role("button", name="Begin").click()
    words = page.page.locator(".question [role=status]")
    page.page.wait_for_selector(".question")
    canvas = page.page.locator(".pictures canvas")
    canvas.focus()
    canvas.press("Enter")
    page.page.wait_for_selector("text=1 click,")
    grown = words.inner_text()
    coloured = page.coloured()
    for _ in range(2):
        canvas.press("Shift+ArrowRight")
    canvas.press("Shift+Enter")
    page.page.wait_for_selector("text=2 clicks,")
    cut = words.inner_text()
    with Client(url) as client, client.session(study, "/region-growing") as session:
        session.click(MIDDLE)
        assert f"{session.mask.sum():,} voxels" in grown
        session.click((8, 64, 66), positive=False)
        assert f"{session.mask.sum():,} voxels" in cut
        assert cut.split(",")[1:3] != grown.split(",")[1:3]
    page.page.get_by_role("button", name="Undo").click()
    page.page.wait_for_selector("text=1 click,")
    assert words.inner_text().split(",")[1:3] == grown.split(",")[1:3]
    assert abs(page.coloured() - coloured) < 0.1 * coloured
    page.page.get_by_role("button", name="Accept").click()
    page.page.wait_for_selector("details.result")
    assert "Region" in page.page.inner_text("details.result")


@pytest.mark.slow
def test_a_model_asks_for_a_place_and_a_choice(page: OpenedPage, study: Path) -> None:
    page.open(study)
    page.choose("/lesion")
    page.page.get_by_role("button", name="Begin").click()
    page.page.wait_for_selector("text=Where is the lesion?")
    page.page.locator(".pictures canvas").click()
    page.page.get_by_role("button", name="spleen").click()
    page.page.wait_for_selector("details.result")
    assert "Lesion, spleen" in page.page.inner_text("details.result")


@pytest.mark.slow
def test_a_model_asks_between_the_clicks_into_two_regions(page: OpenedPage, study: Path) -> None:
    page.open(study)
    page.choose("/organs")
    page.page.get_by_role("button", name="Begin").click()
    for organ in ("liver", "spleen"):
        page.page.get_by_role("button", name=organ).click()
        page.page.get_by_label("Answer", exact=True).fill("secret")
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector(f"text=Click into the {organ}.")
        page.page.wait_for_selector("text=No click yet")
        page.page.locator(".pictures canvas").click()
        page.page.wait_for_selector("text=1 click,")
        page.page.get_by_role("button", name="Accept").click()
    page.page.wait_for_selector("details.result")
    assert page.page.locator("details.result .finding").count() == 2


def test_a_study_that_does_not_fit_is_refused_in_words_with_an_id(
    page: OpenedPage, study: Path, tmp_path: Path
) -> None:
    for path in study.iterdir():
        dataset = dcmread(path)
        dataset.Modality, dataset.SeriesInstanceUID = "MR", f"{dataset.SeriesInstanceUID[:50]}.1"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SOPInstanceUID[:50]}.1"
        dataset.StudyInstanceUID = f"{dataset.StudyInstanceUID[:50]}.1"
        dataset.save_as(tmp_path / path.name)
        break
    page.open(tmp_path)
    page.choose("/region-growing")
    page.page.wait_for_selector(".misfit")
    assert page.verdict("/region-growing") == "This model needs CT; the study holds MR."
    page.page.get_by_role("button", name="Begin").click()
    notice = page.page.get_by_role("alert").filter(has_text="needs CT")
    assert len(notice.locator("code").inner_text()) == 32
    notice.get_by_role("button", name="Close the message").click()
    assert notice.count() == 0


@pytest.mark.slow
def test_a_run_tells_its_progress_and_is_cancelled(page: OpenedPage, study: Path) -> None:
    page.open(study)
    page.choose("/slow")
    page.page.get_by_role("button", name="Run", exact=True).click()
    page.page.wait_for_selector("text=thinking")
    page.page.get_by_role("button", name="Cancel").click()
    page.page.wait_for_selector("p.status:has-text('Cancelled')")
    assert page.page.get_by_role("button", name="Run", exact=True).is_enabled()


@pytest.mark.slow
def test_a_stored_study_is_opened_with_what_ran_on_it(page: OpenedPage, study: Path) -> None:
    page.open(study)
    page.run("/segmentation-3d", Bone=300)
    page.page.locator(".stored button", has_text="Phantom chest").first.click()
    page.page.wait_for_selector(".history")
    page.page.wait_for_selector("p.hint:has-text('16 of 16 files are pictures')")
    page.page.get_by_role("button", name="Show the result of /segmentation-3d").first.click()
    page.page.wait_for_selector("details.result:has-text('Tissue')")
    assert page.coloured() > 20_000
    with page.page.expect_download() as saved:
        page.page.get_by_role("button", name="DICOM", exact=True).click()
    assert dcmread(saved.value.path()).Modality == "SEG"


def test_a_stored_study_is_found_and_its_failed_run_says_why_and_is_run_again(
    page: OpenedPage, url: str, study: Path
) -> None:
    page.open(study)
    page.run("/segmentation-3d")
    words = {"study": dcmread(next(study.iterdir())).StudyInstanceUID, "bone": "much"}
    assert page.page.request.post(f"{url}/runs?route=/segmentation-3d", data=words).status == 201
    search = page.page.get_by_role("search")
    page.page.locator("summary", has_text="Search").click()
    search.get_by_label("Patient's name").fill("nobody")
    search.get_by_role("button", name="Search").click()
    page.page.wait_for_selector("text=No stored study matches.")
    search.get_by_label("Patient's name").fill("phantom")
    search.get_by_label("Description").fill("CHEST")
    search.get_by_label("Show the patients").check()
    search.get_by_role("button", name="Search").click()
    found = page.page.locator(".stored button")
    found.filter(has_text="PHANTOM").click()
    page.page.wait_for_selector(".history .error:has-text('bone')")
    page.page.wait_for_selector("p.hint:has-text('16 of 16 files are pictures')")
    again = page.page.get_by_role("button", name="Run /segmentation-3d again with the same input")
    before = again.count()
    again.first.click()
    page.page.get_by_role("alert").filter(has_text="bone").first.wait_for()
    again.nth(before).wait_for()


def test_on_a_narrow_screen_the_tabs_stay_in_sight(page: OpenedPage, study: Path) -> None:
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.open(study)
    page.run("/segmentation-3d")
    for name in ("Models", "Results", "Compare"):
        page.page.mouse.wheel(0, 5000)
        page.page.get_by_role("tab", name=name).click(timeout=5000)
    assert page.page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.slow
def test_a_mask_is_saved_as_numpy_reads_it(page: OpenedPage, url: str, study: Path) -> None:
    page.open(study)
    page.run("/segmentation-3d")
    with page.page.expect_download() as saved:
        page.page.get_by_role("button", name="Tissue.npy").click()
    with Client(url) as client:
        mask = client.infer(study, "/segmentation-3d").masks[1]
    assert np.array_equal(np.load(io.BytesIO(saved.value.path().read_bytes())), mask)
    with page.page.expect_download() as picture:
        page.page.get_by_role("button", name="PNG").click()
    assert picture.value.path().read_bytes().startswith(b"\x89PNG")
    with page.page.expect_download() as packed:
        page.page.get_by_role("button", name="NIfTI").click()
    assert ZipFile(packed.value.path()).namelist() == ["response.json", "mask_1.nii.gz", "mask_2.nii.gz"]
    objects = []
    page.page.on("download", lambda download: objects.append(dcmread(download.path())))
    page.page.get_by_role("button", name="DICOM", exact=True).click()
    page.page.wait_for_selector(".files button:disabled", state="detached")
    assert objects and {each.Modality for each in objects} == {"SEG"}


@pytest.mark.slow
def test_the_patient_is_named_on_request_alone(page: OpenedPage, study: Path) -> None:
    page.open(study)
    assert "Phantom" not in page.page.inner_text(".top")
    page.page.get_by_role("button", name="Show the patient").click()
    page.page.wait_for_selector(".patient:has-text('PHANTOM')")
    page.page.get_by_role("button", name="Hide the patient").click()
    assert page.page.inner_text(".patient") == ""


@pytest.mark.slow
def test_the_keyboard_alone_opens_runs_and_scrolls(page: OpenedPage, study: Path) -> None:
    keys = page.page.keyboard

    def tab_to(text: str) -> None:
        for _ in range(60):
            keys.press("Tab")
            if text in page.page.evaluate(FOCUSED):
                return
        pytest.fail(f"no Tab leads to {text}")

    page.page.on("filechooser", lambda _: None)  # from here on, so that the browser opens no dialog of its own
    page.page.wait_for_selector("li.card.chosen")
    tab_to("Open files")
    with page.page.expect_file_chooser() as chooser:
        keys.press("Enter")
    chooser.value.set_files(sorted(study.iterdir()))
    page.page.wait_for_selector("p.hint:has-text('are pictures')")
    tab_to("Axial chest with spheres")
    tab_to("CT Axial chest with spheres")
    before = len(list(study.iterdir())) // 2 + 1  # the page opens at the middle once all pictures are there
    page.page.wait_for_selector(f".pictures canvas[aria-valuenow='{before}']")
    keys.press("ArrowDown")
    page.page.wait_for_function(
        "before => Number(document.querySelector('.pictures canvas').ariaValueNow) === before + 1", arg=before
    )
    tab_to("Models")
    keys.press("Tab")
    keys.press("ArrowDown")
    assert "/bounding-boxes" in page.page.inner_text("li.card.chosen")
    tab_to("Run")
    keys.press("Enter")
    page.page.wait_for_selector("details.result")


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_axe_finds_nothing_serious(browser: Browser, url: str, study: Path, scheme: str) -> None:
    with opened_page(browser, url, color_scheme=scheme) as page:
        page.open(study)
        page.run("/segmentation-3d")
        found = [_serious(page)]
        page.page.get_by_role("tab", name="Models").click()
        page.choose("/hostile")
        found.append(_serious(page))
        assert found == [[], []]


def _serious(page: OpenedPage) -> list[str]:
    violations = Axe().run(page.page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in violations if one["impact"] in ("serious", "critical")]


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
