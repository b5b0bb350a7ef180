"""The ladder: a room imports only from lower rungs, and each library only in its rooms."""

import subprocess
import sys

import pytest

from tests.house.imports import ROOT, Import, imports_below, imports_of, modules, public_names

RUNGS = {
    "errors": 0,
    "extras": 0,
    "config": 1,
    "contract": 1,
    "spool": 1,
    "wire": 1,
    "access": 2,
    "dicom": 2,
    "observe": 2,
    "protocol": 2,
    "binding": 3,
    "peers": 3,
    "representations": 3,
    "studies": 3,
    "executors": 4,
    "intake": 4,
    "adapters": 5,
    "service": 5,
    "runs": 6,
    "sessions": 6,
    "delivery": 7,
    "routing": 7,
    "dimse": 8,
    "endpoints": 8,
    "app": 9,
    "server": 9,
    "gunicorn_conf": 10,
    "targets": 10,
    "worker": 10,
    "client": 11,
    "doctor": 11,
    "batch": 12,
    "testing": 12,
    "cli": 13,
    "__main__": 14,
    "models": 14,
    "utils": 14,
}
"""``client`` is above ``app`` for its one module that runs an application in this process."""

DICOM_RUNGS = {"reading": 0, "decoding": 1, "samples": 2, "volumes": 2, "drawing": 3, "web": 4, "writing": 4}
"""The rooms within ``gateway.dicom``: a small ladder of its own."""

LIBRARIES = {
    "flask": ("gateway.app", "gateway.endpoints", "models"),
    "werkzeug": ("gateway.app", "gateway.endpoints"),
    "pydicom": ("gateway.dicom", "gateway.protocol.serializer", "models", "utils"),
    "pynetdicom": ("gateway.dimse", "gateway.peers"),
    "gunicorn": ("gateway.server", "gateway.executors.host"),
    "prometheus_client": ("gateway.observe",),
    "opentelemetry": ("gateway.observe.spans",),
}

PUBLIC = public_names()


def house() -> tuple[Import, ...]:
    """Every import of the packages, read once, when the first test needs them."""
    return imports_below(ROOT, "gateway", "models", "utils")


def room(dotted: str) -> str | None:
    """The room of a dotted name; None for a foreign library and for the small names of the package itself."""
    head, _, rest = dotted.partition(".")
    if head in ("utils", "models"):
        return head
    if head != "gateway" or not rest:
        return None
    name = rest.partition(".")[0]
    return room(PUBLIC[name]) if name in PUBLIC else name if name in RUNGS else None


def climbs(found: Import) -> bool:
    """True when this import climbs to a room that is not lower."""
    here, there = room(found.module), room(found.name)
    if here is None or there is None or here == there:
        return False
    return RUNGS[there] >= RUNGS[here]


def dicom_room(dotted: str) -> str | None:
    """The room of ``gateway.dicom`` that a dotted name lives in."""
    return dotted.split(".")[2] if dotted.startswith("gateway.dicom.") else None


def climbs_in_dicom(found: Import) -> bool:
    """True when a room of ``gateway.dicom`` imports from one that is not lower."""
    here, there = dicom_room(found.module), dicom_room(found.name)
    if here is None or there is None or here == there:
        return False
    return DICOM_RUNGS[there] >= DICOM_RUNGS[here]


def inside(module: str, homes: tuple[str, ...]) -> bool:
    return any(module == home or module.startswith(home + ".") for home in homes)


def test_every_module_of_gateway_stands_on_a_rung() -> None:
    rooms = {name.split(".")[1] for name, _ in modules(ROOT, "gateway") if "." in name}
    assert rooms == RUNGS.keys() - {"models", "utils"}


def test_a_room_imports_only_what_stands_lower() -> None:
    assert [str(found) for found in house() if climbs(found)] == []


def test_every_module_of_dicom_lives_in_one_of_its_rooms() -> None:
    assert {dicom_room(name) for name, _ in modules(ROOT, "gateway")} - {None} == DICOM_RUNGS.keys()


def test_a_room_of_dicom_imports_only_what_stands_lower() -> None:
    assert [str(found) for found in house() if climbs_in_dicom(found)] == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_only_where_it_has_a_home(library: str) -> None:
    strays = [f for f in house() if f.name.split(".")[0] == library and not inside(f.module, LIBRARIES[library])]
    assert [str(found) for found in strays] == []


def test_the_wire_imports_the_standard_library_and_errors_only() -> None:
    allowed = {*sys.stdlib_module_names, "gateway"}
    foreign = [f for f in house() if inside(f.module, ("gateway.wire",)) and f.name.split(".")[0] not in allowed]
    assert [str(found) for found in foreign] == []


def test_models_import_only_the_face_of_the_gateway() -> None:
    deep = [f for f in house() if room(f.module) == "models" and f.name.startswith("gateway.")]
    assert [str(found) for found in deep if found.name.removeprefix("gateway.") not in PUBLIC] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway.wire.decoder", "from gateway.dicom.decoding import pixels"),
        ("gateway.wire.decoder", "def late():\n    import gateway.app"),
        ("gateway.endpoints", "from .client import answer"),
        ("gateway.dicom.decoding.pixels", "from ...protocol import kinds"),
        ("gateway.protocol.kinds", "from gateway import Gateway"),
        ("gateway.app", "import models.masks"),
    ],
)
def test_the_ladder_sees_an_import_that_climbs(module: str, source: str) -> None:
    assert [climbs(found) for found in imports_of(module, source)] == [True]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway.dicom.reading.files", "from gateway.dicom.volumes.study import study"),
        ("gateway.dicom.volumes.study", "from ..samples import phantom"),
    ],
)
def test_the_ladder_sees_an_import_that_climbs_within_dicom(module: str, source: str) -> None:
    assert [climbs_in_dicom(found) for found in imports_of(module, source)] == [True]


def test_the_ladder_lets_a_room_look_down_and_at_itself() -> None:
    source = (
        "from gateway import errors\nfrom . import kinds\nimport gateway.wire.events\nfrom gateway import __version__"
    )
    assert not any(climbs(found) for found in imports_of("gateway.protocol.response", source))


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import gateway", "flask numpy pydicom requests yaml gunicorn"),
        ("import gateway.wire", "flask werkzeug numpy pydicom requests"),
        ("from gateway import Client", "flask werkzeug gunicorn"),
        ("from gateway import Settings, StudyRefused", "flask numpy pydicom"),
    ],
)
def test_an_import_loads_nothing_that_it_does_not_need(statement: str, absent: str) -> None:
    probe = f"import sys\n{statement}\nprint(*sorted(set({absent.split()!r}) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
