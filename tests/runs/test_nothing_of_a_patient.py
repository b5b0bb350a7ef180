"""What a run is sent, tells and answers lies in its payloads alone."""

import io
import logging
import pickletools

import pydicom
import pytest

from gateway.runs.lifecycle import RunState
from gateway.studies.forgetting import forget
from tests.runs.conftest import CALLER, Bench, body
from tests.studies.files import file

MARKERS = ["Marker^Name", "MarkerId", "marker in words", "marker of the model"]


def marked() -> bytes:
    """A slice of a patient with markers as name and id."""
    dataset = pydicom.dcmread(io.BytesIO(file("one").data))
    dataset.PatientName, dataset.PatientID = MARKERS[:2]
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture
def marked_bench(bench: Bench) -> Bench:
    """Runs that end in each way, with markers in all that is sent and told."""
    data = marked()
    bench.go(MARKERS[3])
    for route in ("told", "refuses", "fails", "quick"):
        run = bench.submit(route, body({"name": MARKERS[3], "words": MARKERS[2]}, data))
        assert bench.ended(run).state is not RunState.CANCELLED
    return bench


def test_a_marker_is_in_the_payloads_and_nowhere_else(marked_bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stored = b"".join(path.read_bytes() for path in marked_bench.payloads())
    assert [marker for marker in MARKERS if marker.encode() not in stored] == []
    folder = marked_bench.settings.store_folder
    assert folder is not None
    elsewhere = b"".join(
        path.read_bytes() for path in folder.rglob("*") if path.is_file() and (folder / "runs") not in path.parents
    )
    texts = [marked_bench.rows(), caplog.text, elsewhere.decode("latin-1")]
    assert [marker for marker in MARKERS for text in texts if marker in text] == []


def test_no_table_and_no_payload_is_a_pickle(marked_bench: Bench) -> None:
    for path in marked_bench.payloads():
        with pytest.raises(ValueError):  # noqa: PT011  # each malformed pickle has a text of its own
            list(pickletools.genops(path.read_bytes()))
    assert "\\x80\\x04" not in marked_bench.rows()


def test_a_forgotten_study_leaves_no_marker(marked_bench: Bench) -> None:
    store = marked_bench.app.service.store
    assert store is not None
    forget(store.store, file("one").entry.study_instance_uid, CALLER)
    assert marked_bench.payloads() == []
    assert marked_bench.runs.page(CALLER) == []
