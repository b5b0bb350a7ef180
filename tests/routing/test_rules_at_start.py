"""The file of rules at the start of a server, and before a reload."""

from pathlib import Path

import pytest

from gateway import Gateway, Settings
from gateway.access.toml_tables import FileFaults
from gateway.server.import_check import imports, read_files
from tests.apps.routed import lungs

SERVICE = """
from gateway import Gateway
from tests.apps.routed import lungs

app = Gateway(__name__)
app.model("/lungs")(lungs)
"""
RULES = '[rules.lungs]\ncallers = ["*"]\nmodel = "{}"\n'


def written(folder: Path, model: str) -> Path:
    (folder / "rules.toml").write_text(RULES.format(model))
    return folder / "rules.toml"


def test_a_fault_is_raised_at_each_request_of_any_server(tmp_path: Path) -> None:
    app = Gateway("rules", settings=Settings(routing=written(tmp_path, "/lung"), store_folder=tmp_path / "store"))
    frames = []
    for _ in range(3):
        with pytest.raises(FileFaults) as caught:
            app.test_client().get("/ping")
        frames.append(len(caught.traceback))
    assert frames[1] == frames[2]  # none of the requests before stays in memory
    app.close()


def test_rules_without_a_store_do_not_start(tmp_path: Path) -> None:
    app = Gateway("rules", settings=Settings(routing=written(tmp_path, "/lung")))
    with pytest.raises(ValueError, match="GATEWAY_STORE_FOLDER"):
        app.open()
    app.close()


def test_before_a_reload_the_files_are_read_with_the_models(tmp_path: Path) -> None:
    app = Gateway("rules", settings=Settings(routing=written(tmp_path, "/lungs"), store_folder=tmp_path / "store"))
    app.model("/lungs")(lungs)
    read_files(app)
    written(tmp_path, "/lung")
    with pytest.raises(FileFaults):
        read_files(app)
    read_files(object())  # another WSGI application


@pytest.mark.slow
def test_a_reload_with_a_fault_is_refused_before_a_worker_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reloaded_service.py").write_text(SERVICE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("GATEWAY_STORE_FOLDER", str(tmp_path / "store"))
    monkeypatch.setenv("GATEWAY_ROUTING", str(written(tmp_path, "/lungs")))
    assert imports("reloaded_service:app")
    written(tmp_path, "/lung")
    assert not imports("reloaded_service:app")
