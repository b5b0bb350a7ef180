"""Checks of installed packages: decoders that decode, versions that match, extras that settings need."""

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.doctor import Level, installed_codecs, packages
from gateway.doctor.packages import Declared
from tests.conftest import ROOT
from tests.doctor.asking import ask

MISSING = "sys.modules[{!r}] = None"
"""Python's own way to make an import fail."""
LINE = {"numpy": "codec RLE", "pydicom": "codec uncompressed", "packaging": "packages", "flask": "packages"}


def test_every_family_that_there_is_a_specimen_of_is_tried() -> None:
    from gateway.dicom.samples.specimens import FAMILIES

    assert tuple(FAMILIES) == installed_codecs.FAMILIES


@pytest.mark.parametrize(
    ("module", "family", "level"),
    [
        ("gdcm", "JPEG Lossless", "warn"),
        ("PIL", "JPEG", "fail"),
        ("pylibjpeg", "HTJ2K", "fail"),
        ("jpeg_ls", "JPEG-LS", "fail"),
    ],
)
@pytest.mark.slow
def test_a_decoder_that_is_missing_is_found_by_what_it_does_not_decode(module: str, family: str, level: str) -> None:
    told = ask("--json", before=MISSING.format(module), cold=True)
    assert told.level(f"codec {family}") == level
    assert " install " in told.text(f"codec {family}")
    assert told.status == (level == "fail")
    assert told.level("codec RLE") == told.level("codec uncompressed") == "ok"


def test_a_decoder_with_wrong_values_is_detected() -> None:
    wrong = (
        "import gateway.dicom.samples.specimens as specimens\n"
        "right = specimens.decode\nspecimens.decode = lambda file: right(file)[::-1]\n"
    )
    told = ask("--json", before=wrong)
    assert "is decoded to values that were not encoded" in told.text("codec JPEG 2000")
    assert told.status == 1


@pytest.mark.parametrize("module", LINE)
@pytest.mark.slow
def test_a_package_that_does_not_import_is_a_finding_and_not_a_traceback(module: str) -> None:
    told = ask("--json", "--app", "models.app:app", before=MISSING.format(module), cold=True)
    assert told.status == 1
    assert told.level(LINE[module]) == "fail"
    assert "does not import" in told.text(LINE[module])


def test_without_rich_the_lines_are_plain() -> None:
    told = ask(before=MISSING.format("rich"), cold=True)
    assert "ok   codec RLE: 1 of 1 transfer syntaxes are decoded.\n" in told.out


def test_requirements_are_read_from_the_checkout() -> None:
    asked = packages.declared()
    assert asked is not None
    assert "pydicom >= 3.0.2" in asked.packages
    assert asked.extras["s3"] == ["boto3 >= 1.35"]


def test_a_wheel_has_the_requirements_of_the_checkout(tmp_path: Path) -> None:
    environment = tmp_path / "site"
    written = environment / "inference_gateway-0.1.0.dist-info"
    written.mkdir(parents=True)
    asked = packages.declared()
    assert asked is not None
    extras = [f"Requires-Dist: {text}; extra == '{name}'" for name in ("s3", "gdcm") for text in asked.extras[name]]
    lines = [f"Requires-Dist: {text}" for text in asked.packages]
    head = ["Metadata-Version: 2.1", "Name: inference-gateway", "Version: 0.1.0", "Requires-Python: >=3.11"]
    told = [*head, "Provides-Extra: s3", "Provides-Extra: gdcm", *lines, *extras]
    (written / "METADATA").write_text("\n".join(told) + "\n")
    probe = (
        "from pathlib import Path\nfrom gateway.doctor.packages import *\nasked = declared(Path('/nowhere'))\n"
        "print(asked.python, asked.extras, len(asked.packages), [unmet(text) for text in asked.packages])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=tmp_path,  # not where an editable install has left its own
        env={"PYTHONPATH": f"{environment}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = {"s3": ["boto3>=1.35"], "gdcm": ["python-gdcm>=3.2.6"]}
    assert ran.stdout.strip() == f">=3.11 {expected} {len(asked.packages)} {[''] * len(asked.packages)}"


def test_a_container_s_list_is_taken_where_there_is_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "DISTRIBUTION", "no-such-package-of-anyone")
    assert packages.declared(tmp_path) is None
    (tmp_path / "requirements.txt").write_text("# pinned\nnumpy==1.0\n")
    assert packages.declared(tmp_path) == Declared(packages=["numpy==1.0"])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("numpy >= 2", ""),
        ("numpy >= 900", "numpy is "),
        ("no-such-package-of-anyone >= 1", "no-such-package-of-anyone is missing"),
        ("no-such-package-of-anyone; python_version < '3'", ""),
    ],
)
def test_a_requirement_is_compared_with_the_installed_version(text: str, fault: str) -> None:
    assert packages.unmet(text).startswith(fault)
    assert bool(packages.unmet(text)) == bool(fault)


def test_a_package_that_is_missing_or_too_old_stops_it_and_the_remedy_installs_it() -> None:
    found = packages.packages(Declared(packages=["numpy >= 900", "numpy >= 2", "no-such-package-of-anyone"]))
    assert found.level == Level.FAIL
    assert found.remedy == "pip install 'numpy >= 900' 'no-such-package-of-anyone'"


def test_an_unsupported_python_fails() -> None:
    assert packages.python(Declared(python=">=4")).level == Level.FAIL
    assert packages.python(Declared(python=">=3.11")).level == Level.OK


def test_a_gateway_without_requirements_is_a_note() -> None:
    assert packages.packages(None).level == Level.NOTE
    assert packages.python(None).level == Level.OK


def test_a_missing_extra_is_reported_with_the_command_that_installs_it() -> None:
    asked = Declared(extras={"s3": ["no-such-package-of-anyone >= 1"], "nifti": ["numpy"], "test": ["neither"]})
    found = packages.extras(asked, {})
    assert (found.level, found.remedy) == (Level.NOTE, "pip install 'no-such-package-of-anyone >= 1'")
    assert found.text == "Installed: nifti; not: s3 (audits and studies in S3)."


def test_an_extra_that_a_setting_needs_is_a_failure() -> None:
    asked = Declared(extras={"s3": ["no-such-package-of-anyone >= 1"]})
    wanted = packages.called_for(Settings(), {"S3_AUDIT_BUCKET_NAME": "secret-bucket"})
    found = packages.extras(asked, wanted)
    assert found.level == Level.FAIL
    assert "S3_AUDIT_BUCKET_NAME is set and needs s3" in found.text
    assert "secret-bucket" not in found.text


def test_the_driver_of_postgresql_alone_is_a_warning() -> None:
    asked = Declared(extras={"store": ["numpy", "psycopg-of-no-one >= 1"]})
    assert packages.extras(asked, {"store": "store_folder"}).level == Level.WARN


def test_every_extra_has_a_purpose() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert packages.PURPOSES.keys() == set(config["options.extras_require"]) - packages.FOR_DEVELOPERS
