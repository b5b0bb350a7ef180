"""CI: the one script, the tiers that it runs, and the workflow that calls it."""

import re
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

from tests.house.imports import ROOT

SCRIPT = ROOT / ".ci/run"
JOBS = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]


def test_ci_runs_the_one_script_on_each_python_that_the_classifiers_name() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    classifiers = config["metadata"]["classifiers"].split("\n")
    named = [line.rpartition(" :: ")[2] for line in classifiers if re.search(r":: 3\.\d+$", line)]
    assert JOBS["check"]["strategy"]["matrix"]["python"] == named
    assert ".ci/run" in [step.get("run") for step in JOBS["check"]["steps"]]


def test_ci_runs_the_slow_tier_on_the_python_of_the_image() -> None:
    image = re.search(r"^FROM python:(\d+\.\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert image is not None
    (setup,) = (step["with"] for step in JOBS["slow"]["steps"] if "with" in step)
    assert (setup["python-version"], JOBS["slow"]["env"]["PYTHON"]) == (image[1], f"python{image[1]}")
    assert ".ci/run --slow" in [step.get("run") for step in JOBS["slow"]["steps"]]


def test_each_job_of_ci_ends_within_forty_minutes() -> None:
    assert {name: job["timeout-minutes"] for name, job in JOBS.items()} == {"check": 40, "slow": 40}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with ``npm``, a ``make`` that notes its target in ``calls``, and a ``dpkg-query`` that finds all."""
    for name, text in (
        ("make", f'echo "$1 $GATEWAY_TEST_REQUIRE" >> {tmp_path}/calls'),
        ("dpkg-query", "echo ok installed"),
        ("npm", ""),
    ):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(("arguments", "slow"), [([], []), (["--slow"], ["test-slow all"])])
def test_the_script_runs_lint_types_and_tests_and_the_slow_tier_on_request(
    programs: Path, arguments: list[str], slow: list[str]
) -> None:
    subprocess.run([SCRIPT, *arguments], env={"PATH": f"{programs}:/usr/bin:/bin"}, check=True)
    calls = (programs / "calls").read_text(encoding="utf-8").splitlines()
    assert calls == ["lint all", "types all", "web-check all", "test all", *slow]


def test_the_script_refuses_an_unknown_argument() -> None:
    assert subprocess.run([SCRIPT, "--all"], capture_output=True).returncode == 2
