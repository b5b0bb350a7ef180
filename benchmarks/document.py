"""``python -m benchmarks.document docs/benchmarks.md results/latest.json ...``: renew the results on a page.

Several files of results become one table; of two lines on the same work, the later one stands.
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import table
from benchmarks.results import Line

BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
"""The lines of a page between which the results stand."""


def renewed(page: str, records: list[dict[str, Any]]) -> str:
    """Return the page with the results of ``records``. Raises ValueError for a page without the two lines."""
    read = (Line(**line) for record in records for line in record["lines"])
    lines = {(line.work, line.against, line.must_reach): line for line in read}
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"The page needs the lines {BEGIN.strip()} and {END.strip()}.")
    return f"{before}{begin}\n{table.markdown(list(lines.values()), records[0]['machine'])}\n{end}{after}"


def main() -> None:
    """Renew the page of the first argument by the results in the others."""
    page, *files = map(Path, sys.argv[1:])
    page.write_text(renewed(page.read_text(), [json.loads(file.read_text()) for file in files]))


if __name__ == "__main__":
    main()
