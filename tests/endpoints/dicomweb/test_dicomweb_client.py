"""The whole surface of PyPI's dicomweb-client, unmodified, against a real server whose callers have keys."""

import io
import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from tests.conftest import Serve
from tests.endpoints.dicomweb.web import encoded, sample
from tests.house.pages import ROOT, blocks
from tests.ports import free_port
from tests.require import require
from tests.studies.files import files

SERIES = [pydicom.dcmread(io.BytesIO(one.data)) for one in files(5, study="client")]
J2K = pydicom.dcmread(io.BytesIO(sample("JPEG2000.dcm")))
DOSE = pydicom.dcmread(io.BytesIO(sample("rtdose.dcm")))
STUDY, SERIE = SERIES[0].StudyInstanceUID, SERIES[0].SeriesInstanceUID
AS_STORED = (("application/dicom", "*"),)


KEY = new_key()


@pytest.fixture(scope="module")
def client(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> DICOMwebClient:
    folder: Path = tmp_path_factory.mktemp("dicomweb")
    caller = Caller("pacs", frozenset({"read", "write", "delete"}))
    change(folder / "callers.json", lambda _: [CallerEntry(caller, fingerprint(KEY))])
    settings = {"GATEWAY_API_KEYS_FILE": str(folder / "callers.json"), "GATEWAY_STORE_FOLDER": str(folder / "store")}
    port = free_port()
    url = f"http://127.0.0.1:{port}/dicomweb"  # which the client's Host field, without the port, does not give
    settings |= {"GATEWAY_DICOMWEB": "1", "GATEWAY_DICOMWEB_URL": url}
    serve("tests.apps.typed:app", "--workers", "1", "--port", str(port), **settings)
    made = DICOMwebClient(url, session=create_session_from_user_pass("pacs", KEY))
    answer = made.store_instances([*SERIES, J2K, DOSE])
    assert len(answer.ReferencedSOPSequence) == 7
    assert "FailedSOPSequence" not in answer
    return made


def uids(dataset: pydicom.Dataset) -> tuple[str, str, str]:
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


def test_it_searches_on_every_level(client: DICOMwebClient) -> None:
    assert len(client.search_for_studies()) == 3
    assert len(client.search_for_studies(search_filters={"PatientID": "MRN-4711"}, fields=["PatientName"])) == 1
    assert len(client.search_for_studies(limit=1, offset=1)) == 1
    assert len(client.search_for_studies(limit=1, get_remaining=True)) == 3
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    assert len(client.search_for_series(STUDY)) == 1
    assert len(client.search_for_series(search_filters={"Modality": "RTDOSE"})) == 1
    assert len(client.search_for_instances(STUDY, SERIE)) == 5
    assert len(client.search_for_instances(STUDY)) == 5
    assert len(client.search_for_instances()) == 7


def test_it_retrieves_what_it_stored(client: DICOMwebClient) -> None:
    sent = {one.SOPInstanceUID: one for one in SERIES}
    for retrieved in (
        client.retrieve_study(STUDY),
        client.retrieve_series(STUDY, SERIE),
        client.iter_study(STUDY),
        client.iter_series(STUDY, SERIE),
    ):
        received = {one.SOPInstanceUID: one for one in retrieved}
        assert received == sent
    assert client.retrieve_instance(*uids(SERIES[0])) == SERIES[0]


def test_it_gets_bytes_as_they_are_stored_and_decoded_ones_by_default(client: DICOMwebClient) -> None:
    (stored,) = client.retrieve_study(J2K.StudyInstanceUID, media_types=AS_STORED)
    assert encoded(stored) == encoded(J2K)
    (decoded,) = client.retrieve_study(J2K.StudyInstanceUID, media_types=("application/dicom",))
    assert decoded.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(decoded.pixel_array, J2K.pixel_array)


def test_it_retrieves_metadata_and_bulk_data(client: DICOMwebClient) -> None:
    assert len(client.retrieve_study_metadata(STUDY)) == 5
    assert len(client.retrieve_series_metadata(STUDY, SERIE)) == 5
    metadata = client.retrieve_instance_metadata(*uids(SERIES[0]))
    with warnings.catch_warnings(action="ignore"):  # pydicom has no way to fetch bulk data, and says so
        assert pydicom.Dataset.from_json(metadata).PatientName == SERIES[0].PatientName
    address = metadata["7FE00010"]["BulkDataURI"]
    assert client.retrieve_bulkdata(address) == [SERIES[0].PixelData]
    assert list(client.iter_bulkdata(address)) == [SERIES[0].PixelData]
    assert client.retrieve_bulkdata(address, media_types=("application/octet-stream",)) == [SERIES[0].PixelData]


def test_it_retrieves_frames(client: DICOMwebClient) -> None:
    frames = client.retrieve_instance_frames(*uids(DOSE), [1, 15])
    assert frames == [DOSE.pixel_array[0].tobytes(), DOSE.pixel_array[14].tobytes()]
    assert list(client.iter_instance_frames(*uids(DOSE), [15])) == frames[1:]
    (decoded,) = client.retrieve_instance_frames(*uids(J2K), [1], media_types=("application/octet-stream",))
    assert decoded == J2K.pixel_array.tobytes()
    syntax = J2K.file_meta.TransferSyntaxUID
    (codestream,) = client.retrieve_instance_frames(*uids(J2K), [1], media_types=(("image/jp2", syntax),))
    assert codestream.startswith(b"\xff\x4f\xff\x51")


def test_it_retrieves_renderings(client: DICOMwebClient) -> None:
    for rendered, kind in (
        (client.retrieve_instance_rendered(*uids(J2K)), "JPEG"),
        (client.retrieve_instance_rendered(*uids(J2K), media_types=("image/png",)), "PNG"),
        (client.retrieve_instance_rendered(*uids(J2K), ("image/jpeg",), {"window": "100,50,linear"}), "JPEG"),
        (client.retrieve_instance_frames_rendered(*uids(DOSE), [2], media_types=("image/png",)), "PNG"),
        (client.retrieve_series_rendered(*uids(J2K)[:2], media_types=("image/png",)), "PNG"),
    ):
        assert Image.open(io.BytesIO(rendered)).format == kind


def test_it_deletes_a_study_and_no_part_of_one(client: DICOMwebClient) -> None:
    (made,) = (pydicom.dcmread(io.BytesIO(one.data)) for one in files(1, study="deleted"))
    client.store_instances([made], study_instance_uid=made.StudyInstanceUID)
    for refused in (client.delete_series, client.delete_instance):
        with pytest.raises(requests.HTTPError) as failure:
            refused(*uids(made)[: 2 if refused == client.delete_series else 3])
        assert failure.value.response.status_code == 405
    client.delete_study(made.StudyInstanceUID)
    assert client.search_for_studies(search_filters={"StudyInstanceUID": made.StudyInstanceUID}) == []


def test_the_commands_of_the_guide_work(client: DICOMwebClient, tmp_path: Path) -> None:
    require(shutil.which("curl"), "the guide's commands need curl")
    one = files(1, study="guide")[0]
    (tmp_path / "slice.dcm").write_bytes(one.data)
    text = "\n".join(block.text for block in blocks(ROOT / "docs/dicomweb.md", "console"))
    commands = re.findall(r"^\$ ((?:curl|\(printf) (?:.*\\\n)*.*)", text, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        run = command.replace("http://127.0.0.1:8900/dicomweb", client.base_url).replace("viewer:", "pacs:")
        run = run.replace("1.2.3", one.entry.study_instance_uid).replace("curl ", "curl --silent --fail ")
        subprocess.run(["sh", "-c", run], cwd=tmp_path, env={"KEY": KEY, **os.environ}, check=True, capture_output=True)
    assert one.data in (tmp_path / "study").read_bytes()
