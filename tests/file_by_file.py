"""Let each process of pytest-xdist collect only the test files that it runs.

xdist has every process collect all tests before the first of them runs: half a minute of the processor for each.
Here a process collects each file as one item, which is what xdist hands out.
It reads the file, and collects and selects its tests, when that item is to run.
"""

import re
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import cast

import pytest

LONG = {"server", "studies"}
"""Folders of most files that take long."""
SLOW = re.compile(rb"mark\.heavy|subprocess|\bcommand\b|\bserve\b|\bFORKING\b")
"""What a file that takes seconds has in it: the mark, or what starts a process."""


class WholeFile(pytest.Item):
    """The tests of one file, as one item."""

    def runtest(self) -> None:
        """Never called: FileByFile runs the tests instead."""
        raise NotImplementedError


class LateModule(pytest.Module):
    """A test file that is one item, until it is opened."""

    opened = False

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Return the tests of the file; before it is opened, the file as a whole."""
        return super().collect() if self.opened else [WholeFile.from_parent(self, name="file")]


class FileByFile:
    """The hooks of a process that xdist has started."""

    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> pytest.Module:
        """Leave the reading of a file for later."""
        return LateModule.from_parent(parent, path=module_path)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        """Hide whole files from what selects tests by their marks and names. Sort them.

        xdist hands them out in this order: a long file that starts last would keep one process alone.
        """
        files = [item for item in items if isinstance(item, WholeFile)]
        items[:] = [item for item in items if not isinstance(item, WholeFile)]
        yield
        items.extend(sorted(files, key=_turn))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Collect, select and run the tests of a whole file."""
        if not isinstance(item, WholeFile):
            return None
        session, hook = item.session, item.config.hook
        place, module = session.items.index(item), cast(LateModule, item.parent)
        module.opened = True
        tests = list(session.genitems(module))
        hook.pytest_collection_modifyitems(session=session, config=item.config, items=tests)
        # Folders are torn down behind each file: none of the tests of the next may be selected.
        end = nextitem and WholeFile.from_parent(session, name="end")
        for test, following in zip(tests, [*tests[1:], end], strict=False):
            # xdist compares the name in a report with that of the item at this place
            session.items[place] = test
            hook.pytest_runtest_protocol(item=test, nextitem=following)
            if session.shouldfail or session.shouldstop:
                break
        session.items[place] = item
        return True


def _turn(file: pytest.Item) -> tuple[bool, bool, int]:
    source = file.path.read_bytes()
    return file.path.parent.name not in LONG, not SLOW.search(source), -len(source)
