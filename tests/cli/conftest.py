"""A running service, a small study, and the command line called in this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.dicom.samples import phantom
from tests.conftest import ROOT, Serve, Server


@dataclass(frozen=True)
class Ran:
    """The result of one command: its exit status and its output."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Call ``python -m gateway WORDS`` without a new interpreter."""

    def call(*arguments: object) -> Ran:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = int(str(end.code))
        return Ran(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def service(serve: Serve, study: Path) -> Server:
    """``tests/cli/service.py`` under gunicorn; it may read the folder above the study."""
    return serve("tests.cli.service:app", pythonpath=ROOT, GATEWAY_STUDY_ROOT=str(study.parent))


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT of four slices of 16 x 16, in two folders, its file names against its order in space."""
    folder = tmp_path_factory.mktemp("studies") / "ct"
    for index, path in enumerate(phantom.write(folder, slices=4, size=16)):
        target = folder / "ab"[index % 2] / f"{9 - index}.dcm"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    return folder
