"""The wire imports the standard library alone."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOADED = "import sys; before = set(sys.modules); import gateway.wire; print(*sorted(set(sys.modules) - before))"


def test_importing_the_wire_loads_the_standard_library_and_errors_only():
    command = [sys.executable, "-W", "error", "-c", LOADED]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = {name.partition(".")[0] for name in printed.split()} - sys.stdlib_module_names
    assert loaded == {"gateway", "lazy_loader"}  # the latter by the package itself, which is imported before its rooms
    assert {"flask", "numpy", "pydicom"}.isdisjoint(printed.split())
    ours = {name for name in printed.split() if name.startswith("gateway.") and not name.startswith("gateway.wire")}
    assert ours == {"gateway.errors"}


def test_the_face_names_all_that_it_offers_in_order():
    import gateway.wire

    assert gateway.wire.__all__ == sorted(gateway.wire.__all__)
    assert all(hasattr(gateway.wire, name) for name in gateway.wire.__all__)
