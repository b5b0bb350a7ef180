"""The table of docs/sizing.md is of the command that measures it, and that command runs."""

import subprocess
import sys

import pytest

from benchmarks.sizing import MODES
from tests.house.pages import ROOT, rows
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow


def test_the_command_measures_each_mode_of_the_table() -> None:
    assert [row[0] for row in rows(ROOT / "docs/sizing.md", "mode")] == list(MODES)
    command = [sys.executable, "-m", "benchmarks.sizing", "--slices", "9", "12"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=5 * PATIENCE)
    assert ran.returncode == 0, ran.stderr
    _, _, *table = [line.strip("| ").split(" | ") for line in ran.stdout.splitlines()]
    assert [row[0] for row in table] == list(MODES)
    assert all(int(cell.removesuffix(" MiB")) > 0 for row in table for cell in row[1:-1])
