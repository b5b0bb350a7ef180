"""The page that is served is the one that its sources in web/ build."""

import json
from hashlib import sha256

import pytest

from tests.house.imports import ROOT

WEB, BUILT = ROOT / "web", ROOT / "gateway/endpoints/pages/ui"
MANIFEST = json.loads((BUILT / "manifest.json").read_text(encoding="utf-8"))


def digest(path):
    return sha256(path.read_bytes()).hexdigest()


def test_the_page_is_built_from_the_sources_as_they_are() -> None:
    paths = [path for path in WEB.rglob("*") if path.is_file()]
    names = [path.relative_to(WEB) for path in paths]
    sources = {str(name): digest(WEB / name) for name in names if "node_modules" not in name.parts}
    changed = {
        name for name in sources.keys() | MANIFEST["sources"] if sources.get(name) != MANIFEST["sources"].get(name)
    }
    assert not changed, "run `make web`"


@pytest.mark.parametrize("name", [path.name for path in sorted(BUILT.iterdir()) if path.name != "manifest.json"])
def test_a_file_of_the_page_was_not_edited_by_hand(name: str) -> None:
    assert digest(BUILT / name) == MANIFEST["built"][name]
