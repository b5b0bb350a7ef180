"""The shipped WASM functions are what their sources and build lines give, bit by bit."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.wasm.wasi import Grants
from gateway.adapters.wasm.wasm_function import FunctionLimits, WasmFunction
from tests.commands import ROOT
from tests.house.pages import blocks
from tests.require import require

pytestmark = pytest.mark.slow

SHIPPED = ROOT / "models/wasm"
PAGE = ROOT / "docs/wasm.md"
SOURCES = sorted(SHIPPED.glob("*.c"))


def line(source: Path, command: str) -> list[str]:
    """The words of a line in the comment of a source, after its command."""
    (found,) = re.findall(rf"^ +{re.escape(command)} (.+?)(?: \*/)?$", source.read_text(), re.MULTILINE)
    return str(found).split()


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("ziglang")
    (versions,) = {tuple(line(source, "pip install")) for source in SOURCES}
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "1", "--target", folder, *versions]
    require(subprocess.run(install, capture_output=True).returncode == 0, f"{versions[0]} cannot be installed here")
    yield folder
    shutil.rmtree(folder)


def build(compiler: Path, words: list[str], folder: Path) -> None:
    """Run a build line in a folder."""
    folders = {"ZIG_GLOBAL_CACHE_DIR": str(compiler / "cache"), "ZIG_LOCAL_CACHE_DIR": str(compiler / "cache")}
    environment = {**os.environ, **folders, "PYTHONPATH": str(compiler)}
    built = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_shipped_function_is_what_its_source_gives(source: Path, compiler: Path, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "sources", ignore=shutil.ignore_patterns("*.wasm"))
    build(compiler, [*line(source, "python"), "-Wall", "-Wextra", "-Werror"], tmp_path / "sources")
    name = source.with_suffix(".wasm").name
    assert (tmp_path / "sources" / name).read_bytes() == (SHIPPED / name).read_bytes()
    assert (SHIPPED / name).stat().st_size < 8 << 10


def test_the_functions_of_the_documentation_build_and_run(compiler: Path, tmp_path: Path) -> None:
    sources = [block.text for block in blocks(PAGE, "c")]
    lines = re.findall(r"^\$ python (-m ziglang .+)$", PAGE.read_text(), re.MULTILINE)
    answers = {}
    for source, words in zip(sources, map(str.split, lines), strict=True):
        (tmp_path / words[-1]).write_text(source)
        build(compiler, words, tmp_path)
        name = words[words.index("-o") + 1]
        function = WasmFunction(name, (tmp_path / name).read_bytes(), FunctionLimits(), Grants(), None)
        answers[name] = bytes(function.call(memoryview(b"\x00\x01\xff" * 10_000)))
    assert answers == {"copy.wasm": b"\x00\x01\xff" * 10_000, "invert.wasm": b"\xff\xfe\x00" * 10_000}
