"""Checks of the application: its import, its routes, and the files of its models."""

import contextlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.contract.execution import HealthState
from gateway.contract.model import Model
from gateway.doctor.diagnoses import Diagnosis, Level
from gateway.errors import GatewayError
from gateway.observe.places import is_library

Load = Callable[[], Any]
"""Imports a Gateway; raises what its module raises."""


def load(name: str, importing: Load) -> tuple[Any, Diagnosis]:
    """Import the application; return it, or None where that fails, and a diagnosis.

    Output of the import is printed to standard error. The diagnosis has type and place of an exception, and the text of
    the gateway's own ones only: a service's may quote a password.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            app = importing()
    except GatewayError as error:
        text = f"{error.detail.removesuffix('.')}."
        return None, Diagnosis("application", Level.FAIL, text, "Name it as serve would: module:name.")
    except (Exception, SystemExit) as error:
        text = f"{name} does not import: {type(error).__name__}{_module(error)}{_place(error)}."
        return None, Diagnosis("application", Level.FAIL, text, f"See it: python -c 'import {name.partition(':')[0]}'")
    models = app.service.models
    if not models:
        return app, Diagnosis(
            "application", Level.WARN, f"{name} has no model.", "Register one: @app.model or add_inference_route."
        )
    return app, Diagnosis("application", Level.OK, f"{name} imports; models: {len(models)}.")


def _module(error: BaseException) -> str:
    return f" ({error.name})" if isinstance(error, ImportError) and error.name else ""


def _place(error: BaseException) -> str:
    """Return the innermost line of the service, else the innermost of all."""
    if isinstance(error, SyntaxError):
        return f" at {Path(error.filename or '').name}:{error.lineno}"
    frames = list(traceback.extract_tb(error.__traceback__))
    frames = [frame for frame in frames if not is_library(frame.filename)] or frames
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def routes(app: Any) -> Diagnosis:
    """Check the routes of the application, before the gateway adds its own."""
    rules = sorted(app.url_map.iter_rules(), key=lambda rule: str(rule.rule))
    listed = [
        f"{'/'.join(sorted(rule.methods - {'HEAD', 'OPTIONS'}))} {rule.rule}"
        for rule in rules
        if rule.endpoint != "static"
    ]
    return Diagnosis("routes", Level.OK, f"{', '.join(listed) or 'None'}; and the gateway's own.")


def model(route: str, loaded: Model) -> Diagnosis:
    """Check a model: its name and version, and that its weights are the files that it declares."""
    name, named = f"model {route}", f"{loaded.describe().name} {loaded.card.version}".strip()
    if loaded.health is HealthState.FAILED:
        return Diagnosis(name, Level.FAIL, f"{named} could not be set up.", "See the log of its start.")
    if fault := loaded.fault():
        return Diagnosis(name, Level.FAIL, fault, "Build it again, or register it with what it needs.")
    files = loaded.weights_files()
    if wrong := [fault for path, expected in files.items() if (fault := _fault(path, expected))]:
        remedy = "Put the files that this version was made with where it looks for them."
        return Diagnosis(name, Level.FAIL, f"{named}: {'; '.join(wrong)}.", remedy)
    if files and not all(files.values()):
        remedy = "Declare weights={file: sha256}, and a changed file is refused."
        return Diagnosis(
            name, Level.NOTE, f"{named}; weights files that are there, unvouched for: {len(files)}.", remedy
        )
    matching = f"; weights files that match: {len(files)}" if files else ", no weights files"
    return Diagnosis(name, Level.OK, f"{named}{matching}.")


def _fault(path: Path, expected: str) -> str:
    from gateway.binding.weights import Weights

    try:
        Weights.load({path: expected})
    except OSError as error:
        return f"{path}: {error.strerror}"
    except GatewayError:
        return f"{path} is not the file that it declares"
    return ""
