"""Names: a public class exists once, a module's stem once except for twins, and each module has a room."""

import ast
from collections import Counter, defaultdict
from pathlib import Path

from tests.house.imports import ROOT, modules

TWINS = {
    "bundles": "the client, the views and the store of one protocol",
    "errors": "the gateway's errors and the client's",
    "preflight": "the view, and what it asks of each typed model",
    "results": "the views and the store of one protocol",
    "runs": "the views, and what they show",
    "sessions": "the views of click sessions, and those of AIGES wrappers that stream",
    "worker": "gunicorn's worker, and the name under which configurations find it",
}
"""Stems that several rooms share on purpose, each with its reason."""

LOOSE = {"targets", "__init__", "__main__", "app", "config", "errors", "extras", "gunicorn_conf", "testing", "worker"}
"""Modules of ``gateway`` that live in no room."""


def public_classes(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}


def test_a_public_class_name_stands_once() -> None:
    homes = defaultdict(list)
    for module, path in modules(ROOT, "gateway"):
        for name in public_classes(path):
            homes[name].append(module)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_a_module_stem_stands_once_but_for_twins() -> None:
    stems = defaultdict(list)
    for module, path in modules(ROOT, "gateway"):
        if not path.stem.startswith("__"):
            stems[path.stem].append(module)
    assert {stem for stem, found in stems.items() if len(found) > 1} == TWINS.keys()


def test_a_test_module_s_stem_stands_once() -> None:
    """pytest imports each by its stem, and refuses the second."""
    stems = Counter(path.stem for path in (ROOT / "tests").rglob("test_*.py"))
    assert [stem for stem, count in stems.items() if count > 1] == []


def test_no_module_of_the_gateway_lies_outside_a_room() -> None:
    assert {path.stem for path in (ROOT / "gateway").glob("*.py")} == LOOSE
