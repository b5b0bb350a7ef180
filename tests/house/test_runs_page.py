"""The examples of docs/runs.md are true: its commands run one after the other."""

import json
import shutil
from pathlib import Path

import pydicom

from tests.conftest import Serve
from tests.house.pages import ROOT, blocks, commands
from tests.house.test_readme import README, run
from tests.require import require
from tests.waiting import eventually

PAGE = ROOT / "docs/runs.md"
SERVING = "GATEWAY_STORE_FOLDER=store python -m gateway serve tissue:app &"


def test_the_requests_of_the_page_run_one_after_the_other(serve: Serve, tmp_path: Path) -> None:
    require(shutil.which("curl"), "the page's commands need curl")
    (tmp_path / "tissue.py").write_text(blocks(README, "python")[0].text, encoding="utf-8")
    shutil.copy(Path(pydicom.__file__).parent / "data/test_files/CT_small.dcm", tmp_path / "ct.dcm")
    lines = [line for line in commands(PAGE) if line.startswith("curl ")]
    assert SERVING in commands(PAGE)
    server = serve("tissue:app", pythonpath=tmp_path, GATEWAY_STORE_FOLDER=str(tmp_path / "store"))

    def output(line: str) -> str:
        return run(line.replace("127.0.0.1:8900", f"127.0.0.1:{server.port}"), tmp_path)

    started, submit, wait, *others = lines
    output(started)
    submitted = output(submit)
    waited = eventually(lambda: found if '"finished"' in (found := output(wait)) else "")  # each change ends a wait
    watched = list(map(output, others))[0]
    sample = json.loads(next(block.text for block in blocks(PAGE, "json") if "sequence" in block.text))
    assert json.loads(submitted)["id"] == "scan-17"
    assert json.loads(waited).keys() == sample.keys()
    assert (json.loads(waited)["state"], json.loads(waited)["links"]) == ("finished", sample["links"])
    assert watched.startswith("retry: 1000\n\nid: ")
    assert '"state": "finished"' in watched
    assert b'filename="hashes"' in (tmp_path / "answer.bin").read_bytes()
