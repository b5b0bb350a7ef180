"""The documentation as data: its code blocks, tables and links."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page, with the number of the block in it."""

    page: Path
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.number}"


def blocks(page: Path, *languages: str) -> list[Block]:
    matches = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(page, i, language, text) for i, (language, text) in enumerate(matches) if language in languages]


def prose(page: Path) -> list[str]:
    """The lines of a page without its blocks of code; spans of code are left out."""
    text = re.sub(_BLOCK, "", page.read_text(encoding="utf-8"))
    return [re.sub(r"`[^`]*`", "``", line) for line in text.splitlines()]


def commands(page: Path) -> list[str]:
    """Every line that a console block prompts with ``$``, without the prompt."""
    lines = [line for block in blocks(page, "console") for line in block.text.splitlines()]
    return [line[2:] for line in lines if line.startswith("$ ")]


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table whose header line begins with ``heading``."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |")) + 2
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def links(page: Path) -> list[str]:
    """Targets of links and images that stay inside the project."""
    return [target for target in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """The anchors that a forge makes of the page's headings."""
    headings = _HEADING.findall(re.sub(_BLOCK, "", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
