"""Checks of folders: of the spool, of studies, of stores and of audits."""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from gateway.config import Settings
from gateway.doctor.diagnoses import Diagnosis, Level, in_words
from gateway.doctor.plan import Plan
from gateway.spool.disk import unwritable

IN_MEMORY = {"tmpfs", "ramfs"}
"""File systems whose files are memory (filesystems(5))."""
SPOOL = "spool room"


def spool_room(plan: Plan) -> Diagnosis:
    """Check that the spool folder exists, takes an anonymous file, and has room for the largest requests."""
    try:
        folder = spool_folder(plan.settings)
    except FileNotFoundError:
        return Diagnosis(SPOOL, Level.FAIL, "No temporary folder can be written.", "Name one in GATEWAY_SPOOL_FOLDER.")
    elsewhere = "Name a folder that the gateway's user may write in GATEWAY_SPOOL_FOLDER."
    if not folder.is_dir():
        return Diagnosis(SPOOL, Level.FAIL, f"{folder} is not a folder.", elsewhere)
    if refusal := unwritable(folder):
        return Diagnosis(SPOOL, Level.FAIL, f"{folder} cannot be written: {refusal}.", elsewhere)
    return judge_room(plan, folder, shutil.disk_usage(folder).free, unnamed=takes_unnamed_files(folder))


def judge_room(plan: Plan, folder: Path, free: int, *, unnamed: bool) -> Diagnosis:
    """Check a writable folder by its ``free`` bytes, and whether it supports files without a name (``unnamed``)."""
    settings, room = plan.settings, f"{in_words(free)} free in {folder}"
    remedy = "Free some, or name another folder in GATEWAY_SPOOL_FOLDER."
    if free < settings.spool_threshold:
        return Diagnosis(SPOOL, Level.FAIL, f"{room}: too little for any request that is spooled.", remedy)
    if free < settings.max_body_bytes:
        most = in_words(settings.max_body_bytes)
        return Diagnosis(SPOOL, Level.WARN, f"{room}: less than the largest request, {most}.", remedy)
    if not unnamed:
        remedy = "Use a file system with O_TMPFILE, such as ext4, XFS or tmpfs."
        return Diagnosis(SPOOL, Level.WARN, f"{room}, but files there have a name for a moment.", remedy)
    if free < plan.workers * settings.max_bytes_in_flight:
        most = in_words(plan.workers * settings.max_bytes_in_flight)
        return Diagnosis(SPOOL, Level.NOTE, f"{room}: less than all requests at once may take, {most}.")
    return Diagnosis(SPOOL, Level.OK, f"{room}, files without a name work.")


def spool_folder(settings: Settings) -> Path:
    """Return the folder of large requests. Raises FileNotFoundError where there is no temporary folder at all."""
    return settings.spool_folder or Path(tempfile.gettempdir())


def takes_unnamed_files(folder: Path) -> bool:
    """Return True if open(2) takes O_TMPFILE there, so that no file is left however the process ends."""
    try:
        descriptor = os.open(folder, os.O_RDWR | os.O_TMPFILE, 0o600)
    except (AttributeError, OSError):
        return False
    os.close(descriptor)
    return True


def in_memory(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Return True if files in this folder are memory: the type of the innermost mount around it (proc(5))."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return False
    mount_parts = [line.split(" - ", 1) for line in lines]
    kinds = {Path(before.split()[4].replace(r"\040", " ")): after.split()[0] for before, after in mount_parts}
    around = [folder.resolve(), *folder.resolve().parents]
    return next((kinds[place] for place in around if place in kinds), "") in IN_MEMORY


def folders(settings: Settings) -> Diagnosis:
    """Check the folder of each setting but the spool's: it exists and is readable, or writable where it is written."""
    named = {name: getattr(settings, name) for name in USES if getattr(settings, name) is not None}
    faults = [f"{name}: {path} {fault}" for name, path in named.items() if (fault := USES[name](path))]
    if faults:
        remedy = "Mount or create the missing ones, and give the gateway's user access."
        return Diagnosis("folders", Level.FAIL, f"{'; '.join(faults)}.", remedy)
    return Diagnosis("folders", Level.OK, f"{', '.join(named) or 'None is set'}.")


def _readable_folder(path: Path) -> str:
    return "" if path.is_dir() and os.access(path, os.R_OK | os.X_OK) else "is not a readable folder"


def _readable_file(path: Path) -> str:
    return "" if path.is_file() and os.access(path, os.R_OK) else "is not a readable file"


def _writable_folder(path: Path) -> str:
    """Check the nearest existing folder: a store makes its own folder."""
    nearest = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    refusal = unwritable(nearest)
    return f"cannot be written: {refusal}" if refusal else ""


def _appendable_file(path: Path) -> str:
    if not path.exists():
        return _writable_folder(path.parent)
    if not path.is_file():  # opening a pipe would wait for a reader
        return "is not a file"
    try:
        with path.open("ab"):
            return ""
    except OSError as error:
        return f"cannot be written: {os.strerror(error.errno or 0)}"


def _private_folder(path: Path) -> str:
    """Check a folder of code, which no other user may have written."""
    if not path.exists():
        return _writable_folder(path.parent)
    found = path.stat()
    if found.st_uid != os.geteuid():
        return "belongs to another user"
    return "can be written by other users" if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else _writable_folder(path)


def _file_or_its_place(path: Path) -> str:
    return _readable_file(path) if path.exists() else _writable_folder(path.parent)


USES: dict[str, Callable[[Path], str]] = {
    "study_root": _readable_folder,
    "store_folder": _writable_folder,
    "api_keys_file": _readable_file,
    "audit_file": _appendable_file,
    "audit_key_file": _file_or_its_place,
    "audit_messages": _appendable_file,
    "backendai_keys": _readable_file,
    "webhook_secrets_file": _readable_file,
    "dimse_titles_file": _readable_file,
    "peers": _readable_file,
    "routing": _readable_file,
    "wasm_cache": _private_folder,
    "ui_secret_file": _readable_file,
    "ray_working_dir": _readable_folder,
}
"""The check of each setting's path: returns the fault, "" without one."""
