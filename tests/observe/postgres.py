"""A PostgreSQL of the test's own, on a socket in a folder of its own."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.require import require
from tests.waiting import PATIENCE, eventually

PLACES = "/usr/lib/postgresql/*/bin"


def binaries() -> Path | None:
    """The folders in which Debian installs initdb and postgres, the newest version first."""
    programs = sorted(Path("/").glob(f"{PLACES[1:]}/initdb"), reverse=True)
    return programs[0].parent if programs else None


@contextlib.contextmanager
def running() -> Iterator[str]:
    """SQLAlchemy's URL of an empty database; the server is stopped afterwards."""
    bin_folder = binaries()
    require(bin_folder, "Debian's package postgresql is not installed")
    assert bin_folder is not None
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data = folder / "data"
    make = [bin_folder / "initdb", "-D", data, "-U", "audit", "-A", "trust", "--no-sync"]
    subprocess.run(make, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    serve = [bin_folder / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(serve, user=user, cwd=folder, stdout=log, stderr=log)
    try:
        _wait(folder, server)
        yield f"postgresql+psycopg://audit@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(folder: Path, server: "subprocess.Popen[bytes]") -> None:
    def told() -> str:
        return (folder / "log").read_text(errors="replace")

    eventually(lambda: "ready to accept connections" in told() or server.poll() is not None)
    assert server.poll() is None, told()
