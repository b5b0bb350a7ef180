"""The fuzzer finds nothing in a short run from the committed corpus; a long one is for ``make test-all``."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).with_name("fuzz_decoder.py")
CORPUS = Path(__file__).parents[1] / "corpus"


@pytest.mark.parametrize("seconds", [3, pytest.param(180, marks=pytest.mark.slow)])
def test_no_body_is_read_two_ways_or_crashes_the_decoder(tmp_path: Path, seconds: int) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python or platform")
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    for body in CORPUS.rglob("*.body"):
        shutil.copyfile(body, seeds / f"{body.parent.name}-{body.stem}")
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", f"-artifact_prefix={tmp_path}/"]
    command = [sys.executable, str(FUZZER), str(seeds), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done " in done.stderr
