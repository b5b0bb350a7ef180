"""``new`` writes a folder whose tests pass, and whose requirements hold wherever the gateway was installed from."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import gateway
from gateway.cli import main, wheels
from tests.conftest import ROOT
from tests.container.dockerfile import Dockerfile, exec_form
from tests.require import require

WHEEL = f"inference_gateway-{gateway.__version__}-py3-none-any.whl"
TESTS = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "lung_nodules"]) == 0
    return tmp_path / "lung_nodules"


def run(python: Path | str, *words: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``python`` in ``folder``, without the environment of this test."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GATEWAY_"))}
    return subprocess.run(
        [str(python), *words], cwd=folder, env=clean | environ, capture_output=True, text=True, timeout=570
    )


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as members:
        (name,) = [name for name in members.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(members.read(name))


def requirements(wheel: Path) -> set[str]:
    return {str(Requirement(text)) for text in metadata(wheel).get_all("Requires-Dist") or []}


@pytest.mark.slow
def test_a_new_folder_passes_its_own_tests(folder: Path) -> None:
    names = {"Dockerfile", "README.md", "app.json", "pkg.json", "model.py", "requirements.txt", "test_model.py", WHEEL}
    assert {path.name for path in folder.iterdir()} == names
    ran = run(sys.executable, *TESTS, folder=folder, PYTHONPATH=str(ROOT))
    assert ran.returncode == 0, ran.stdout


def test_the_command_names_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "lungs"]) == 0
    assert "pip install -r requirements.txt && python -m pytest" in capsys.readouterr().out


@pytest.mark.slow
def test_the_wheel_installs_as_pip_does_it(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    words = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), WHEEL]
    ran = run(sys.executable, *words, folder=folder)
    assert ran.returncode == 0, ran.stderr
    (shown,) = run(sys.executable, "-m", "gateway", "--version", folder=target).stdout.splitlines()
    assert shown == f"gateway {gateway.__version__}"
    assert (target / "bin" / "inference-gateway").is_file()
    assert (target / f"inference_gateway-{gateway.__version__}.dist-info" / "licenses" / "LICENSE").is_file()


def test_the_wheel_has_the_requirements_of_the_checkout_and_no_compiled_file(folder: Path) -> None:
    needed = requirements(folder / WHEEL)
    assert {"pydicom>=3.0.2", 'alembic>=1.14; extra == "store"'} <= needed
    assert not any("pytest" in text for text in needed)
    assert metadata(folder / WHEEL)["Requires-Python"] == ">=3.11"
    names = zipfile.ZipFile(folder / WHEEL).namelist()
    assert {"gateway/py.typed", "gateway/endpoints/pages/docs.html", "gateway/cli/templates/model.py.txt"} <= set(names)
    assert [name for name in names if "__pycache__" in name] == []


def test_the_same_files_make_the_same_wheel(folder: Path, tmp_path: Path) -> None:
    assert (tmp_path / wheels.pack(ROOT, tmp_path)).read_bytes() == (folder / WHEEL).read_bytes()


def test_an_image_s_files_make_a_wheel_too(tmp_path: Path) -> None:
    image = tmp_path / "app"
    shutil.copytree(ROOT / "gateway", image / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", image)
    program = "import sys; from gateway.cli import main; sys.exit(main(['new', 'lungs']))"
    ran = run(sys.executable, "-c", program, folder=tmp_path, PYTHONPATH=str(image))
    assert ran.returncode == 0, ran.stderr
    assert any(text.startswith("pydicom") for text in requirements(tmp_path / "lungs" / WHEEL))


def test_a_given_wheel_is_copied(folder: Path, tmp_path: Path) -> None:
    assert main(["new", "lungs", "--gateway", str(folder / WHEEL)]) == 0
    assert (tmp_path / "lungs" / WHEEL).read_bytes() == (folder / WHEEL).read_bytes()
    assert f"./{WHEEL}" in (tmp_path / "lungs" / "requirements.txt").read_text()


@pytest.mark.parametrize("source", [".", "missing.whl", "missing"])
def test_what_is_no_gateway_is_refused_and_leaves_nothing(tmp_path: Path, source: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "lungs", "--gateway", source]) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_container_copies_what_its_requirements_name(folder: Path) -> None:
    dockerfile = Dockerfile.read(folder / "Dockerfile")
    assert [source for sources, _ in dockerfile.copies() for source in sources] == [
        "requirements.txt",
        "*.whl",
        "model.py",
        *("app.json", "pkg.json"),
    ]
    assert f"./{WHEEL}" in (folder / "requirements.txt").read_text().splitlines()


def test_the_container_has_the_base_and_the_user_of_the_gateway_s_own(folder: Path) -> None:
    own, new = Dockerfile.read(ROOT / "Dockerfile"), Dockerfile.read(folder / "Dockerfile")
    assert new.all("FROM")[0] == f"{own.last('FROM')} AS base"
    assert set(new.all("USER")) == {own.last("USER")}
    assert new.all("FROM")[-1] == "base AS service", "what a build without a target makes"


def test_the_manifests_of_a_package_are_those_of_its_container(folder: Path) -> None:
    app, package = (json.loads((folder / name).read_text()) for name in ("app.json", "pkg.json"))
    dockerfile = Dockerfile.read(folder / "Dockerfile")
    commands = [" ".join(exec_form(text)) for text in dockerfile.all("CMD")]
    assert app["command"] in commands
    assert app["environment"].items() <= dockerfile.environ().items()
    assert app["workingDirectory"] == package["applicationRoot"] == dockerfile.last("WORKDIR")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *[(name, "lower-case letters") for name in ("../out", "Lung", "a" * 50, "", "a-b", "1st")],
        *[(name, "in Python") for name in ("class", "match", "list")],
        *[(name, "standard library") for name in ("json", "statistics")],
        *[(name, "Windows") for name in ("con", "nul", "aux", "com1", "lpt9")],
        *[(name, "use it themselves") for name in ("gateway", "app", "model", "test")],
    ],
)
def test_a_bad_name_writes_nothing(name: str, reason: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", name]) == 1
    assert reason in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert main(["new", "mine"]) == 1
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.slow
def test_requirements_install_in_a_fresh_environment_and_from_there_again(folder: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    installed = run(python, "-m", "pip", "install", "--quiet", "-r", "requirements.txt", folder=folder)
    require("No matching distribution" not in installed.stderr, "requirements.txt needs a package index")
    assert installed.returncode == 0, installed.stderr
    ran = run(python, *TESTS, folder=folder)
    assert ran.returncode == 0, ran.stdout
    again = run(python, "-m", "gateway", "new", "again", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert requirements(tmp_path / "again" / WHEEL) == requirements(folder / WHEEL)
    words = ["-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", "-r", "requirements.txt"]
    assert run(python, *words, folder=tmp_path / "again").returncode == 0
    assert run(python, *TESTS, folder=tmp_path / "again").returncode == 0
