"""The JavaScript of docs/sessions.md applies changes as the gateway makes them."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np

from gateway.protocol.region_changes import RegionChange
from tests.house.pages import ROOT, blocks
from tests.require import require

RUN = """
const fs = require("fs");
(async () => {
  let mask = null;
  for (const change of JSON.parse(fs.readFileSync(0))) mask = await apply(change, mask);
  process.stdout.write(Buffer.from(mask));
})();
"""


def test_the_program_of_the_page_applies_changes(tmp_path: Path) -> None:
    require(shutil.which("node"), "needs node, as from Debian's nodejs")
    [block] = blocks(ROOT / "docs/sessions.md", "javascript")
    random, before, changes = np.random.default_rng(7), None, []
    for sequence in range(1, 9):
        after = np.zeros((5, 64, 70), np.uint8) if before is None else before.copy()
        after[1:4, 2:62, 3:67] = random.integers(0, 3, (3, 60, 64)) if sequence % 2 else sequence
        changes.append(RegionChange.between(before, after, sequence - 1, sequence).words())
        before = after
    program = tmp_path / "apply.js"
    program.write_text(block.text + RUN)
    ran = subprocess.run(["node", program], input=json.dumps(changes).encode(), capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stderr.decode()
    assert before is not None
    assert ran.stdout == before.tobytes()
    assert {change["encoding"] for change in changes} == {"runs", "values"}
