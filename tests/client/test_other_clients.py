"""The programs of docs/other-clients.md read an answer of a gateway without its client."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.dicom.samples import phantom
from tests.conftest import Serve
from tests.house.pages import ROOT, blocks

PAGE = ROOT / "docs/other-clients.md"
COMMANDS = {
    "python": [sys.executable, "program.py"],
    "javascript": ["node", "program.js"],
    "csharp": ["sh", "-c", "mcs -r:System.Net.Http -out:program.exe program.cs && mono program.exe"],
}
"""How the program of a language is run, once it is written to its file."""
NEEDED = {"javascript": ["node"], "csharp": ["mcs", "mono"]}
"""Programs that a machine need not have, even for all tests."""
FOUND = {
    "python": ["probability_mask Body (1, 4, 64, 64)", "numeric_label_mask Tissue (1, 4, 64, 64)"],
    "javascript": ["probability_mask Body 1 x 4 x 64 x 64 16384", "numeric_label_mask Tissue 1 x 4 x 64 x 64 16384"],
    "csharp": ['"label": "Tissue"', "16384 bytes", "129 bytes"],
}


@pytest.mark.parametrize("language", ["python", "javascript", pytest.param("csharp", marks=pytest.mark.slow)])
def test_a_program_without_the_gateway_s_client_reads_an_answer(language: str, serve: Serve, tmp_path: Path) -> None:
    if not all(map(shutil.which, NEEDED.get(language, []))):
        pytest.skip(f"the programs for {language} are not installed")
    phantom.write(tmp_path / "study", slices=4, size=64)
    (program,) = blocks(PAGE, language)
    name = next(word for word in COMMANDS[language][-1].split() if word.startswith("program.") and word[-3:] != "exe")
    text = program.text.replace("127.0.0.1:8900", f"127.0.0.1:{serve('models.app:app').port}")
    (tmp_path / name).write_text(text, encoding="utf-8")
    ran = subprocess.run(COMMANDS[language], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert [words for words in FOUND[language] if words not in ran.stdout] == []
