"""Checks of an application: its import, its routes, and the files of its weights."""

import hashlib
from pathlib import Path

import pytest

from tests.doctor.asking import Told, ask

SERVICE = """
from gateway import Gateway, Mask, Settings, Volume
app = Gateway(__name__{settings})
print("a service that prints")

@app.model("/lungs", version="1.2", weights={weights})
def lungs(ct: Volume) -> Mask:
    return Mask(ct.array > 0, label="lungs")
"""


def examine(folder: Path, weights: object = (), settings: str = "") -> Told:
    (folder / "service.py").write_text(SERVICE.format(weights=weights, settings=settings))
    return ask("--json", "--app", "service:app", folder=folder)


def test_routes_and_models_are_listed(tmp_path: Path) -> None:
    told = examine(tmp_path)
    assert told.status == 0
    assert told.text("application") == "service:app imports; models: 1."
    assert told.text("routes").startswith("POST /lungs;")
    assert told.text("model /lungs") == "lungs 1.2, no weights files."
    assert "a service that prints" in told.err


def test_doctor_checks_the_settings_of_the_application(tmp_path: Path) -> None:
    told = examine(tmp_path, settings=", settings=Settings(max_body_bytes=0)")
    assert told.level("limits") == "fail"
    assert told.status == 1


def test_weights_that_are_there_and_match_are_fine(tmp_path: Path) -> None:
    (tmp_path / "lungs.pt").write_bytes(b"weights")
    told = examine(tmp_path, {str(tmp_path / "lungs.pt"): hashlib.sha256(b"weights").hexdigest()})
    assert told.text("model /lungs") == "lungs 1.2; weights files that match: 1."


def test_weights_of_another_content_stop_it(tmp_path: Path) -> None:
    (tmp_path / "lungs.pt").write_bytes(b"others")
    told = examine(tmp_path, {str(tmp_path / "lungs.pt"): hashlib.sha256(b"weights").hexdigest()})
    assert (told.status, told.level("model /lungs")) == (1, "fail")
    assert "lungs.pt is not the file that it declares" in told.text("model /lungs")


def test_weights_that_are_missing_stop_it(tmp_path: Path) -> None:
    told = examine(tmp_path, [str(tmp_path / "lungs.pt"), str(tmp_path / "heart.pt")])
    assert told.status == 1
    assert "lungs.pt: No such file" in told.text("model /lungs")
    assert "heart.pt: No such file" in told.text("model /lungs")


def test_weights_without_a_digest_are_unvouched_for(tmp_path: Path) -> None:
    (tmp_path / "lungs.pt").write_bytes(b"weights")
    assert examine(tmp_path, [str(tmp_path / "lungs.pt")]).level("model /lungs") == "note"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('postgresql://me:secret@host')", "RuntimeError at service.py:1"),
        ("import json\njson.loads('secret')", "JSONDecodeError at service.py:2"),
        ("import a_package_of_nobody", "ModuleNotFoundError (a_package_of_nobody) at service.py:1"),
        ("secret = (", "SyntaxError at service.py:1"),
        ("raise SystemExit('secret')", "SystemExit at service.py:1"),
        ("app = 'secret'", "service:app is not a Gateway."),
        ("", "service has no app."),
    ],
)
def test_an_application_that_does_not_import_fails_with_its_own_message(
    tmp_path: Path, source: str, words: str
) -> None:
    (tmp_path / "service.py").write_text(source + "\n")
    told = ask("--json", "--app", "service:app", folder=tmp_path)
    assert (told.status, told.level("application")) == (1, "fail")
    assert words in told.text("application")
    assert "secret" not in told.out + told.err


def test_an_application_without_models_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("import gateway\napp = gateway.Gateway(__name__)\n")
    told = ask("--json", "--app", "service:app", folder=tmp_path)
    assert (told.status, told.level("application")) == (0, "warn")
