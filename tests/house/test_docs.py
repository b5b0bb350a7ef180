"""The documentation is true: its tables are those of the code, its links lead somewhere, its Python runs."""

import importlib
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from gateway import errors
from gateway.config import Settings
from tests.commands import command
from tests.house.pages import PAGES, ROOT, Block, anchors, blocks, links, prose, rows
from tests.house.test_ladder import DICOM_RUNGS, RUNGS

CONTRACT, DEPLOYING = ROOT / "docs/contract.md", ROOT / "docs/deploying.md"
ARCHITECTURE = ROOT / "docs/architecture.md"
CONTRIBUTING = ROOT / "docs/contributing.md"
MIGRATING = ROOT / "docs/migrating-from-inference-sdk.md"
DOCUMENTED_PYTHON = [
    block for page in PAGES for block in blocks(page, "python") if not re.search(r"Client\(|:8900", block.text)
]
"""Blocks that stand alone; those of clients run where there is a server."""

SAMPLES = {
    "request_id|X-Request-ID": r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "sha256|held|existing|[a-z]+_digest": r"([0-9a-f]{64})?",
    "id": r"[0-9a-f]{64}|scan-[0-9]+",
    "[a-z]+_instance_uid|study|series|studies|SOPInstanceUID": r"[0-9]+(\.[0-9]+)+",
    "created|started|ended|stored|used|time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)",
}
"""Names of members in JSON samples, and what their values look like."""


def leaves(root: type[errors.GatewayError]) -> Iterator[type[errors.GatewayError]]:
    """The errors at the ends of the tree as gateway.errors draws it; rooms may have finer ones of their own."""
    below = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    if not below:
        yield root
    for child in below:
        yield from leaves(child)


def test_the_table_of_errors_is_the_tree_of_errors() -> None:
    documented = {(int(status), code.strip("`")) for status, code, _ in rows(CONTRACT, "status")}
    assert documented == {(leaf.status, leaf.code) for leaf in leaves(errors.GatewayError)}


def test_the_table_of_settings_is_that_of_the_code() -> None:
    table = [
        [f"`{field.name}`", f"`GATEWAY_{field.name.upper()}`", str(field.default), field.metadata["why"]]
        for field in fields(Settings)
    ]
    should_be = "\n".join(f"| {' | '.join(row)} |" for row in table)
    assert rows(DEPLOYING, "setting") == table, f"the table in {DEPLOYING.name} should be:\n{should_be}"


def test_the_table_of_binary_types_is_that_of_the_code() -> None:
    from gateway.protocol.kinds import KINDS

    documented = {name.strip("`"): media_type.strip("`") for name, media_type, _ in rows(CONTRACT, "`binary_type`")}
    assert documented == {name: kind.media_type for name, kind in KINDS.items()}


def test_the_table_of_gunicorn_settings_is_that_of_the_code() -> None:
    from gateway.server.master import DEFAULTS

    documented = {name.strip("`"): value.strip("`") for name, value, _ in rows(DEPLOYING, "gunicorn's setting")}
    assert documented == {name: str(value) for name, value in DEFAULTS.items()}


def rungs(drawing: str) -> dict[str, int]:
    """The ladder of a drawing: a line for each rung, its number first, and the rooms with bars between them."""
    lines = [line.split(maxsplit=1) for line in drawing.splitlines()]
    return {name.strip(): int(rung) for rung, names in lines for name in names.split("|")}


def test_the_drawings_of_the_ladder_are_those_that_the_ladder_test_checks() -> None:
    _, house, dicom, *_ = [block.text for block in blocks(ARCHITECTURE, "text")]
    assert rungs(house) == RUNGS
    assert rungs(dicom) == DICOM_RUNGS


def test_the_drawing_of_the_house_names_every_room() -> None:
    house = blocks(ARCHITECTURE, "text")[0].text
    drawn = set(re.findall(r"^  ([a-z_]+)", house, re.MULTILINE))
    assert drawn == RUNGS.keys() - {"__main__", "gunicorn_conf", "worker", "models", "utils"}


@pytest.mark.parametrize("row", rows(MIGRATING, "was"), ids=lambda row: row[0])
def test_the_names_that_a_handler_must_change_are_absent(row: list[str]) -> None:
    module, *path = row[0].strip("`").split(".")
    with warnings.catch_warnings(action="ignore"):
        holder: object = importlib.import_module(module)
        for name in path[:-1]:
            holder = getattr(holder, name)
        assert not hasattr(holder, path[-1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_project_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in links(page):
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def members(value: object) -> Iterator[tuple[str, str]]:
    """Every member of a JSON value that is a text, or a list of texts, with its name."""
    if isinstance(value, list):
        for each in value:
            yield from members(each)
    if isinstance(value, dict):
        for name, held in value.items():
            for each in held if isinstance(held, list) else [held]:
                if isinstance(each, str):
                    yield name, each
                else:
                    yield from members(each)


def form(name: str) -> str:
    """The pattern that the texts of a member follow, by its name; "" for a member of free text."""
    return next((pattern for names, pattern in SAMPLES.items() if re.fullmatch(names, name)), "")


@pytest.mark.parametrize("block", [block for page in PAGES for block in blocks(page, "json")], ids=str)
def test_every_sample_of_json_holds_values_that_are_possible(block: Block) -> None:
    for name, text in members(json.loads(block.text)):
        assert not (pattern := form(name)) or re.fullmatch(pattern, text), f"{name}: {text}"


def test_every_request_id_of_a_sample_header_is_possible() -> None:
    found = [
        text for page in PAGES for text in re.findall(r"^X-Request-ID: (.+)$", page.read_text("utf-8"), re.MULTILINE)
    ]
    assert found
    assert [text for text in found if not re.fullmatch(form("request_id"), text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_line_of_prose_has_one_sentence(page: Path) -> None:
    lines = [re.sub(r"^ *(-|\d+\.) ", "", line) for line in prose(page) if not line.startswith(("|", "#"))]
    assert [line for line in lines if re.search(r"[a-z0-9`)][.?!] [A-Z]", line)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != CONTRIBUTING], ids=lambda page: page.name)
def test_no_page_uses_a_word_that_the_contributors_page_avoids(page: Path) -> None:
    avoided = "|".join(word for word, _ in rows(CONTRIBUTING, "avoid"))
    assert [line for line in prose(page) if re.search(rf"\b({avoided})\b", line, re.IGNORECASE)] == []


@pytest.mark.parametrize("block", DOCUMENTED_PYTHON, ids=str)
def test_every_python_block_runs(block: Block, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(block.text, encoding="utf-8")
    run = f"runpy.run_path({str(script)!r}, run_name='__main__')"
    strictly = f"import runpy, sys, warnings\nwarnings.simplefilter('error')\n{run}\nsys.exit()"
    ran = command(environ={}, before=strictly)
    assert ran.returncode == 0, ran.stderr
