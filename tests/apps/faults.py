"""A service whose routes fail in every way a model can, served by the tests under real gunicorn."""

import hashlib
import time
from pathlib import Path

import numpy as np

from gateway import Gateway, StudyRefused

SECRET = "DOE^JANE"


def echo(json_input, files, digest):
    """Describe the request."""
    sizes = [len(file.read()) for file in files]
    return {"protocol_version": "1.0", "study_ml_json": {"json": json_input, "sizes": sizes, "digest": digest}}, []


def count(json_input, files, digest):
    """Count the files of the request."""
    return {"study_ml_json": {"files": len(files)}}, []


def digests(json_input, files, digest):
    """The sha256 of each file, read in one of the ways a handler may read it."""
    ways = [lambda f: f.read(), lambda f: f.getvalue(), lambda f: f.getbuffer()]
    hashes = [hashlib.sha256(ways[n % 3](file)).hexdigest() for n, file in enumerate(files)]
    return {"study_ml_json": {"digests": hashes}}, []


def mask(json_input, files, digest):
    """Answer a mask of the requested size."""
    depth, height, width = json_input["shape"]
    part = {"binary_type": "boolean_mask", "binary_data_shape": {"depth": depth, "height": height, "width": width}}
    return {"parts": [part]}, [np.ones((depth, height, width), np.uint8)]


def refuses(json_input, files, digest):
    """Refuse the study in words."""
    raise StudyRefused("The series has 3 slices; at least 20 are needed.")


def raises(json_input, files, digest):
    """Fail with a text that no client may read."""
    raise RuntimeError(f"cannot read {SECRET} in /var/data/secret.dcm")


def invalid(json_input, files, digest):
    """Announce a part and return no part."""
    return {"parts": [{"binary_type": "boolean_mask"}]}, []


def nothing(json_input, files, digest):
    """Forget to answer."""


def exits(json_input, files, digest):
    """Try to end the process."""
    raise SystemExit(3)


def sleeps(json_input, files, digest):
    """Run until the named file exists."""
    while not Path(json_input["until"]).exists():
        time.sleep(0.01)
    return {"slept": True}, []


app = Gateway(__name__)
for handler in (echo, count, digests, mask, refuses, raises, invalid, nothing, exits, sleeps):
    app.add_inference_route(f"/{handler.__name__}", handler)
