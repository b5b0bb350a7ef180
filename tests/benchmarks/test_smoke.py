"""The benchmarks run, and their arithmetic is right."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.client import Answer
from benchmarks.document import BEGIN, END, renewed
from benchmarks.pairs import alternate
from benchmarks.results import at_least, at_most, skipped
from benchmarks.soak import theil_sen
from benchmarks.studies import check, study
from benchmarks.table import markdown
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_first_row_runs_on_real_servers_and_leaves_a_table_and_its_samples(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rows", "wall", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=5 * PATIENCE, check=False)
    assert done.returncode in (0, 1), done.stderr  # a small run may miss a bound
    record = json.loads((tmp_path / "partial.json").read_text())
    assert (tmp_path / "partial.md").read_text() == done.stdout
    assert [line["against"] for line in record["lines"]] == ["plain", "sha256 alone"]
    assert all(len(line["samples"]["ours"]) == 2 for line in record["lines"])


def test_a_row_whose_package_is_missing_is_skipped_and_the_others_are_there() -> None:
    code = "import sys; sys.modules['wasmtime'] = None; from benchmarks.results import QUICK"
    code += "; from benchmarks.rows import ROWS; print({line.note for line in ROWS['functions'](QUICK)})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "{'the package wasmtime is not installed'}\n"


def test_works_take_turns_and_their_first_round_does_not_count() -> None:
    order: list[str] = []

    def work(name: str) -> float:
        order.append(name)
        return float(len(order))

    samples = alternate(2, {"a": lambda: work("a"), "b": lambda: work("b")})
    assert order == ["a", "b"] * 3
    assert samples == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_a_ratio_is_the_median_of_the_paired_ratios() -> None:
    samples = {"ours": [1.0, 2.0, 9.0], "plain": [2.0, 4.0, 3.0]}
    assert at_most(0.5, "work", samples, "ours", "plain").ratio == 0.5
    assert at_most(0.5, "work", samples, "ours", "plain").met
    assert at_most(0.49, "work", samples, "ours", "plain").met is False
    assert at_least(0.6, "work", samples).met is False


def test_the_slope_ignores_a_single_peak() -> None:
    assert theil_sen([0.0, 1.0, 2.0, 3.0, 4.0], [10, 12, 999, 16, 18]) == 2.0


def test_an_answer_with_a_wrong_hash_is_no_answer() -> None:
    sent = study(2)
    part = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n'
    body = part + b"{}\r\n" + part + b"0" * 64 + b":" + b"0" * 64 + b"\r\n--b--\r\n"
    answer = Answer(200, {"content-type": "multipart/related; boundary=b"}, memoryview(body), 0.1)
    with pytest.raises(ValueError, match="hashes"):
        check(sent, answer)
    with pytest.raises(ValueError, match="status 503"):
        check(sent, replace(answer, status=503))


def test_the_table_has_a_reason_for_a_skipped_row() -> None:
    text = markdown([skipped("work", "no network")], {"cores": 2})
    assert "| work |  |  |  |  | not measured |" in text
    assert "- work: no network." in text


def test_results_renew_a_page_between_its_marks() -> None:
    page, machine = f"before\n{BEGIN}old\n{END}after\n", {"cores": 2}
    first, again = ({"work": "a", "unit": "s", "ours": seconds, "must_reach": ""} for seconds in (1.0, 2.0))
    records = [{"machine": machine, "lines": [first]}, {"machine": machine, "lines": [again]}]
    new = renewed(page, records)
    assert new.startswith(f"before\n{BEGIN}") and new.endswith(f"{END}after\n")
    assert "old" not in new and "1.000 s" not in new and "| a | 2.000 s |" in new
    with pytest.raises(ValueError, match="needs the lines"):
        renewed("before", records)
