"""Commands of an operator's page, run as an administrator runs them, in folders of the test's own."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.house.pages import ROOT


def section(page: str, heading: str) -> list[list[str]]:
    """Return the commands of each console block below a heading of a page, without their prompts."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    body = re.split(r"^## ", text.split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]
    found = re.findall(r"^```console\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
    return [re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE) for block in found]


def run(commands: list[str], folders: Mapping[str, Path], **environment: str) -> str:
    """Run commands one after the other, with other folders in place of those of the page; return their output.

    The first that fails ends the test.
    """
    script = "\n".join(commands)
    for name, folder in folders.items():
        assert name in script, f"the page does not use {name}"
        script = script.replace(name, str(folder))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment}
    ran = subprocess.run(["bash", "-eu"], input=script, env=variables, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
