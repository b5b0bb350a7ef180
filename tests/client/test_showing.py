"""A result is shown where its user looks: in the notebook, or in the viewer of the system."""

import webbrowser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from gateway.client import ClientError
from gateway.client.showing import show, temporary
from tests.require import require


class Viewer(webbrowser.BaseBrowser):
    """A viewer that notes what it opens."""

    def __init__(self, able: bool = True) -> None:
        super().__init__()
        self.opened: list[Path] = []
        self.able = able

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        self.opened.append(Path(unquote(urlsplit(url).path)))
        return self.able


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    Image.new("L", (4, 4)).save(tmp_path / "contact sheet.png")
    return tmp_path / "contact sheet.png"


def install(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser._tryorder", ["test"])
    monkeypatch.setattr("webbrowser._browsers", {"test": [None, viewer]})


def test_a_sheet_opens_in_the_viewer_of_the_system(sheet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = Viewer()
    install(viewer, monkeypatch)
    show(sheet)
    assert viewer.opened == [sheet]


def test_a_system_without_a_viewer_is_reported(sheet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(Viewer(able=False), monkeypatch)
    with pytest.raises(ClientError, match="to_png"):
        show(sheet)


def test_a_notebook_shows_the_sheet_below_its_cell(sheet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require(find_spec("IPython"), "IPython is not installed: install the extra test")
    monkeypatch.setenv("IPYTHONDIR", str(sheet.parent / "ipython"))
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    class Notebook(InteractiveShell):
        """The shell of a notebook, which has a kernel as ipykernel's has."""

        kernel = None

    Notebook.instance()
    try:
        with capture_output() as captured:
            show(sheet)
        (output,) = captured.outputs
        assert output.data["image/png"]
    finally:
        Notebook.clear_instance()


def test_a_temporary_folder_belongs_to_its_user_alone() -> None:
    folder = temporary()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
