"""The imports of each module, read from its syntax tree and not from a running program."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One dotted name that a module imports; ``typing_only`` when it stands under ``if TYPE_CHECKING``."""

    module: str
    name: str
    line: int
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.name}"


def modules(root: Path, *packages: str) -> Iterator[tuple[str, Path]]:
    """Dotted name and file of every module of ``packages`` below ``root``."""
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            yield ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"), path


def imports_of(module: str, source: str, *, package: bool = False) -> list[Import]:
    """Every import of one module, at its top, in functions and for typing, as absolute dotted names."""
    tree = ast.parse(source)
    typed = {id(node) for block in ast.walk(tree) if _is_typing_block(block) for node in ast.walk(block)}
    return [
        Import(module, name, node.lineno, id(node) in typed)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in _names(node, module if package else module.rpartition(".")[0])
    ]


@cache
def imports_below(root: Path, *packages: str) -> tuple[Import, ...]:
    """Every import of every module of ``packages``."""
    return tuple(
        each
        for module, path in modules(root, *packages)
        for each in imports_of(module, path.read_text(encoding="utf-8"), package=path.name == "__init__.py")
    )


def public_names() -> dict[str, str]:
    """Each public name of ``gateway`` and the module of its home, as ``gateway/__init__.pyi`` lists them."""
    stub = (ROOT / "gateway/__init__.pyi").read_text(encoding="utf-8")
    names = [each.name.rpartition(".") for each in imports_of("gateway", stub, package=True)]
    return {name: home for home, _, name in names}


def _is_typing_block(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name | ast.Attribute)
        and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
    )


def _names(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        parent = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*parent, *filter(None, [node.module])])
    return [f"{base}.{alias.name}" for alias in node.names]
