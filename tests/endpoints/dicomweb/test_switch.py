"""DICOMweb is off unless it is turned on, and leaves no table of names behind."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from gateway import Gateway, Settings
from gateway.studies.query.query_tables import dicom_studies
from tests.endpoints.dicomweb.web import Web, application
from tests.studies.files import file
from tests.waiting import eventually


def rows(app: Gateway) -> int:
    with app.service.store.store.index.reading() as connection:
        return connection.execute(select(func.count()).select_from(dicom_studies)).scalar_one()


def test_it_has_no_routes_unless_it_is_on(tmp_path: Path) -> None:
    app = Gateway(__name__, settings=Settings(store_folder=tmp_path / "store"))
    assert Web(app).get("/studies").status_code == 404


def test_it_needs_a_study_store() -> None:
    app = Gateway(__name__, settings=Settings(dicomweb=True))
    with pytest.raises(ValueError, match="store_folder"):
        app.open()


def test_turned_off_it_leaves_no_names_and_turned_on_it_finds_what_is_stored(tmp_path: Path) -> None:
    on = Web(application(tmp_path))
    assert on.store(file("one").data).status_code == 200
    assert rows(on.app) == 1
    off = Gateway(__name__, settings=Settings(store_folder=tmp_path / "store"))
    off.open()
    assert rows(off) == 0
    again = Web(application(tmp_path))
    assert eventually(lambda: again.find(PatientID="MRN-4711"))


def test_addresses_are_those_that_are_configured(tmp_path: Path) -> None:
    web = Web(application(tmp_path, dicomweb_url="https://pacs.example/dicomweb/"))
    web.store(file("one").data)
    assert web.find()[0]["00081190"]["Value"][0].startswith("https://pacs.example/dicomweb/studies/")
