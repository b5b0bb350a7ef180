"""Targets of ``run`` and ``schema``: ``module:name`` of an application or a model."""

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from gateway.app import Gateway
from gateway.config import Settings
from gateway.contract.model import Model
from gateway.errors import GatewayError


class NoTarget(GatewayError):
    """A target that is missing, or is neither an application nor a model."""


def find(target: str) -> Any:
    """Return the object that ``module:name`` names. Raises NoTarget; errors of the import pass through."""
    module, colon, name = target.partition(":")
    if not colon or not name:
        raise NoTarget(f"{target} is not module:name, such as models.segmentation_3d:segment")
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    try:
        value: Any = importlib.import_module(module)
        for attribute in name.split("."):
            value = getattr(value, attribute)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise NoTarget(f"no module {error.name} can be imported from here") from error
        raise
    except AttributeError:
        raise NoTarget(f"the module {module} has no {name}") from None
    return value


def application(target: str) -> Gateway:
    """Return the application that ``target`` names. Raises NoTarget for anything else."""
    app = find(target)
    if not isinstance(app, Gateway):
        raise NoTarget(f"{target} is not a Gateway")
    return app


def served(target: str) -> Gateway:
    """An application with the model that ``target`` names on ``/``: the one it was registered as, where it was."""
    found = find(target)
    if isinstance(found, Gateway):
        return found
    app = Gateway(__name__, settings=Settings.from_environment(log_exception_text=True))  # the author's own screen
    if fresh := next(filter(None, (model.fresh("/") for model in _registered(found))), None):
        app.add_model("/", fresh)
    elif is_plain(found):
        app.add_inference_route("/", found)
    else:
        app.model("/")(found)
    return app


def _registered(target: Any) -> list[Model]:
    """The models that applications of the same module made of ``target``."""
    module = inspect.getmodule(target)
    apps = [value for value in vars(module).values() if isinstance(value, Gateway)] if module else []
    models = [model for app in apps for model in app.service.models.values()]
    return [model for model in models if model.target is target]


def is_plain(target: Any) -> bool:
    """Return True if a function is a plain handler: its signature declares no input from a study."""
    from gateway.binding.declaration import read_declaration

    try:
        return not read_declaration(target).inputs
    except TypeError:
        return True
