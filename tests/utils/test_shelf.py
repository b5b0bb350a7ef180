"""``utils`` has the names that services import, which lead to ``gateway``."""

import subprocess
import sys

import pydicom
import pytest

from tests.conftest import ROOT

SHELF = {
    "utils.tagged_logger.TaggedLogger": "gateway.observe.logs",
    "utils.request_auditor.write_s3_audit": "gateway.observe.audit.s3",
    "utils.image_conversion.convert_to_nifti": "gateway.dicom.volumes.nifti",
    "utils.image_conversion.load_nifti_file": "gateway.dicom.volumes.nifti",
    "utils.image_conversion.get_masks_from_nifti_file": "gateway.dicom.volumes.nifti",
    "utils.image_conversion.convert_dataset_to_bytes": "gateway.dicom.reading.files",
    "utils.image_conversion.convert_monochrome_1to2": "gateway.dicom.decoding.pixels",
}


@pytest.mark.parametrize("name", SHELF)
@pytest.mark.slow
def test_a_name_on_the_shelf_is_what_lives_in_the_gateway(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    probe = f"import importlib; print(importlib.import_module({module!r}).{attribute}.__module__)"
    ran = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == SHELF[name]


def test_masks_are_named_as_services_name_them() -> None:
    from utils import image_conversion

    assert image_conversion.ARTERYS_PROBABILITY_MASK == "probability_mask"
    assert {name for name in image_conversion.__all__ if not hasattr(image_conversion, name)} == set()


@pytest.mark.parametrize("statement", ["import utils", "from utils import tagged_logger"])
def test_importing_utils_restores_read_file_of_pydicom(statement: str) -> None:
    probe = f"import pydicom\nassert not hasattr(pydicom, 'read_file')\n{statement}\nprint(pydicom.read_file.__name__)"
    ran = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "dcmread"


def test_a_pydicom_that_still_has_its_read_file_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from utils.pydicom_compat import restore_read_file

    monkeypatch.setattr(pydicom, "read_file", "its own", raising=False)
    restore_read_file()
    assert vars(pydicom)["read_file"] == "its own"
