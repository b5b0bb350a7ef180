"""The wheel: the gateway and its command, and nothing that would collide with others."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gateway
from tests.conftest import ROOT
from tests.require import require


@pytest.mark.slow
def test_a_wheel_installs_the_gateway_only_and_its_command(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("gateway", "utils", "models"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    built = subprocess.run(
        words, capture_output=True, text=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    )
    require("No matching distribution" not in built.stderr, "a wheel needs setuptools from a package index")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"inference_gateway-{gateway.__version__}-py3-")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"gateway", "inference_gateway"}
    assert {"gateway/py.typed", "gateway/__init__.pyi"} <= set(names)
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
