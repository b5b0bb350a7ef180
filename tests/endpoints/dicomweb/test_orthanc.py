"""Debian's Orthanc, unmodified, as a DICOMweb peer: it sends to the gateway, searches there, and fetches from it."""

from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from tests.conftest import Serve
from tests.endpoints.dicomweb import orthanc
from tests.endpoints.dicomweb.web import AS_STORED, sample, split, uids
from tests.require import require
from tests.studies.files import files

pytestmark = pytest.mark.slow

SENT = [*(one.data for one in files(4, study="orthanc")), sample("JPEG2000.dcm"), sample("CT_small.dcm")]


@pytest.fixture(scope="module")
def peers(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Any:
    require(orthanc.program(), orthanc.MISSING)
    folder: Path = tmp_path_factory.mktemp("orthanc")
    key = new_key()
    caller = Caller("orthanc", frozenset({"read", "write"}))
    change(folder / "callers.json", lambda _: [CallerEntry(caller, fingerprint(key))])
    settings = {"GATEWAY_API_KEYS_FILE": str(folder / "callers.json"), "GATEWAY_STORE_FOLDER": str(folder / "store")}
    server = serve("tests.apps.typed:app", "--workers", "2", GATEWAY_DICOMWEB="1", **settings)
    session = requests.Session()
    session.auth = ("orthanc", key)
    root = f"{server.url}/dicomweb"
    peer = {"gateway": {"Url": f"{root}/", "Username": "orthanc", "Password": key}}
    (folder / "peer").mkdir()
    with orthanc.orthanc(folder / "peer", peer) as running:
        yield running, session, root


def test_it_stores_searches_and_fetches(peers: Any) -> None:
    running, session, root = peers
    studies = {running.add(data) for data in SENT}
    running.job("gateway/stow", sorted(studies))
    for data in SENT:
        study, series, sop = uids(data)
        answer = session.get(f"{root}/studies/{study}/series/{series}/instances/{sop}", headers={"Accept": AS_STORED})
        assert split(answer)[0][1] == running.get(f"/instances/{_id(running, sop)}/file").content

    found = requests.post(
        f"{running.url}/dicom-web/servers/gateway/qido",
        json={"Uri": "/studies", "Arguments": {"PatientID": "MRN-4711"}},
        timeout=60,
    )
    assert found.status_code == 200, found.text
    assert len(found.json()) == 1

    for study in studies:
        requests.delete(f"{running.url}/studies/{study}", timeout=60)
    assert running.get("/instances").json() == []
    running.job("gateway/retrieve", [{"Study": uids(data)[0]} for data in SENT[3:]])
    assert len(running.get("/instances").json()) == len(SENT)


def test_it_proxies_metadata(peers: Any) -> None:
    running, session, root = peers
    running.job("gateway/stow", [running.add(SENT[0])])
    study = uids(SENT[0])[0]
    answer = requests.post(
        f"{running.url}/dicom-web/servers/gateway/get",
        json={"Uri": f"/studies/{study}/metadata", "HttpHeaders": {"Accept": "application/dicom+json"}},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    assert session.get(f"{root}/studies/{study}/metadata").status_code == 200


def _id(running: Any, sop: str) -> str:
    answer = requests.post(f"{running.url}/tools/lookup", data=sop, timeout=60).json()
    return next(one["ID"] for one in answer if one["Type"] == "Instance")
