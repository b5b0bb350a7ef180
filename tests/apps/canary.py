"""Models that spill what they were sent in every way that Python has, but for print: served by the canary's test.

Each takes its words from the study and from the JSON, as a careless author's would.
"""

import asyncio
import ctypes
import threading
import time
from pathlib import Path
from typing import Annotated

import pydicom
from pydantic import Field

from gateway import Classification, Gateway, StudyRefused, Volume, current_request

app = Gateway(__name__)


def name_in(files):
    """The patient's name, and every value read, so that pydicom warns of those that are amiss."""
    dataset = pydicom.dcmread(files[0])
    return f"{dataset.PatientName} {len(str(dataset))}"


def answers(json_input, files, digest):
    """Answer with all that was sent, and report it on the way."""
    name = name_in(files)
    current_request().progress(1, 2, name)
    if "until" in json_input:
        Path(json_input["until"] + ".begun").touch()
        while not Path(json_input["until"]).exists():
            time.sleep(0.01)
    return {"study_ml_json": {"json": json_input, "name": name}}, []


def raises(json_input, files, digest):
    """Fail with a name, after something else did."""
    try:
        raise KeyError(name_in(files), json_input)
    except KeyError as error:
        raise RuntimeError(f"cannot read {name_in(files)}") from error


def refuses(json_input, files, digest):
    """Refuse in words that are for the caller."""
    raise StudyRefused(f"No study of {name_in(files)} is taken.")


def invalid(json_input, files, digest):
    """Break the protocol in several places, with a name in each."""
    name = name_in(files)
    return {"parts": [{"label": name, name: name, "binary_type": name}], "study_ml_json": {name: {name}}}, []


def exhausts(json_input, files, digest):
    """Allocate more memory than there is."""
    return {"study_ml_json": {name_in(files): bytearray(1 << 62)}}, []


def ends(json_input, files, digest):
    """Try to end the process with a name for its last words."""
    raise SystemExit(name_in(files))


class Unraisable:
    """Fails where no caller can see it."""

    def __init__(self, name):
        self.name = name

    def __del__(self):
        raise RuntimeError(self.name)


def astray(json_input, files, digest):
    """Fail without a caller: in a thread, in a destructor, in a task that is never awaited."""
    name = name_in(files)

    def fail():
        raise RuntimeError(name)

    thread = threading.Thread(target=fail, name="astray")
    thread.start()
    thread.join()
    Unraisable(name)
    asyncio.run(_lose_a_task(name))
    return {"study_ml_json": {}}, []


async def _lose_a_task(name):
    async def fail():
        raise RuntimeError(name)

    task = asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task


def crashes(json_input, files, digest):
    """Read where no memory is, a name at hand."""
    name = name_in(files)
    return {"study_ml_json": {name: ctypes.string_at(0)}}, []


for handler in (answers, raises, refuses, invalid, exhausts, ends, astray, crashes):
    app.add_inference_route(f"/{handler.__name__}", handler)


@app.model("/typed", version="1.0", deterministic=True, forbid_unknown=True)
def typed(ct: Volume, threshold: Annotated[float, Field(ge=-1024, le=3071)] = 100, note: str = "") -> Classification:
    """One word about a volume."""
    return Classification({"dense": str(bool((ct.array > threshold).any())), "note": note})
