"""The gateway as a wheel (PyPA Binary Distribution Format 1.0), packed from its files without a build.

A checkout, an installed wheel and an image all have the package's files, and none of them has the wheel itself.
"""

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from gateway.doctor.packages import DISTRIBUTION, FOR_DEVELOPERS, declared
from gateway.errors import GatewayError

TAG = "py3-none-any"
WHEEL = f"Wheel-Version: 1.0\nGenerator: {DISTRIBUTION}\nRoot-Is-Purelib: true\nTag: {TAG}\n"
ENTRY_POINTS = "[console_scripts]\ninference-gateway = gateway.cli:main\n"
LICENSES = ("LICENSE", "NOTICE")
PACKED = (1980, 1, 1, 0, 0, 0)
"""The time of each member, the first that a zip can have: the same files make the same wheel."""
VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


class NotPackable(GatewayError):
    """A folder that has no gateway."""


def pack(root: Path, folder: Path) -> str:
    """Pack ``root/gateway`` as a wheel in ``folder``; return its name. Raises NotPackable, OSError."""
    package = root / "gateway"
    initial = package / "__init__.py"
    match = VERSION.search(initial.read_text("utf-8")) if initial.is_file() else None
    if match is None:
        raise NotPackable(f"{root} is neither a wheel nor a checkout of the gateway; name one of these.")
    stem = f"{DISTRIBUTION.replace('-', '_')}-{match[1]}"
    members = {path.relative_to(root).as_posix(): path.read_bytes() for path in _files(package)}
    information = {"METADATA": _metadata(root, match[1]), "WHEEL": WHEEL, "entry_points.txt": ENTRY_POINTS}
    members |= {f"{stem}.dist-info/{name}": text.encode() for name, text in information.items()}
    members |= {f"{stem}.dist-info/licenses/{path.name}": path.read_bytes() for path in _licenses(root, stem)}
    record = f"{stem}.dist-info/RECORD"
    members[record] = "".join([*map(_recorded, members, members.values()), f"{record},,\n"]).encode()
    with zipfile.ZipFile(folder / f"{stem}-{TAG}.whl", "x", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in members.items():
            wheel.writestr(zipfile.ZipInfo(name, PACKED), content, zipfile.ZIP_DEFLATED)
    return f"{stem}-{TAG}.whl"


def _files(package: Path) -> Iterator[Path]:
    """Yield the package's files, without what Python has compiled."""
    return (path for path in sorted(package.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def _licenses(root: Path, stem: str) -> Iterator[Path]:
    """Yield the licence files of a checkout, or of an installed wheel."""
    places = (root, root / f"{stem}.dist-info" / "licenses")
    return (path for place in places for name in LICENSES if (path := place / name).is_file())


def _recorded(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(content)}\n"


def _metadata(root: Path, version: str) -> str:
    """Return the core metadata 2.1: name, version and requirements."""
    needs = declared(root)
    lines = ["Metadata-Version: 2.1", f"Name: {DISTRIBUTION}", f"Version: {version}"]
    if needs is not None:
        lines += [f"Requires-Python: {needs.python}"] if needs.python else []
        lines += [f"Requires-Dist: {text}" for text in needs.packages]
        for extra, texts in needs.extras.items():
            if extra not in FOR_DEVELOPERS:
                lines += [f"Provides-Extra: {extra}", *(f'Requires-Dist: {text}; extra == "{extra}"' for text in texts)]
    return "\n".join(lines) + "\n"
