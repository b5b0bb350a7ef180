"""Targets of the command line: an application or a model, named by module or by file."""

import importlib
import inspect
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.app import Gateway
from gateway.config import Settings
from gateway.contract.model import Model
from gateway.errors import GatewayError
from gateway.observe.places import in_one_line

PLAIN_ARGUMENTS = 3
"""Arguments of a plain handler; a WSGI application has two (PEP 3333)."""


class NoTarget(GatewayError):
    """A target that is missing, or is neither an application nor a model."""


class ImportBroken(NoTarget):
    """A target whose module raises while it is imported; the error is its cause."""


def find(target: str) -> Any:
    """Return the object that ``module:name``, ``folder/file.py:name``, or either without a name, stands for.

    Raises NoTarget, ImportBroken.
    """
    path, _, name = target.partition(":")
    module = _imported(_module_name(path))
    if not name:
        return _only(path, module)
    found: Any = module
    try:
        for attribute in name.split("."):
            found = getattr(found, attribute)
    except AttributeError:
        raise NoTarget(f"{path} has no {name}{_listed(_candidates(module))}") from None
    return found


def _module_name(path: str) -> str:
    """Return the dotted name of a module or a file, which can be imported from then on. Raises NoTarget."""
    folder = Path.cwd()
    if path.endswith(".py") or os.sep in path:
        file = Path(path if path.endswith(".py") else f"{path}.py").absolute()
        if not file.is_file():
            raise NoTarget(f"{file.name} is not a file in {path.rpartition(os.sep)[0] or 'this folder'}")
        folder, parts = file.parent, [file.stem]
        while (folder / "__init__.py").is_file():
            folder, parts = folder.parent, [folder.name, *parts]
        path = ".".join(parts)
    if not all(map(str.isidentifier, path.split("."))):
        raise NoTarget(f"{path or 'the target'} is not module:name, such as models.segmentation_3d:segment")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return path


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise NoTarget(f"no module {error.name} can be imported from here") from error
        raise ImportBroken(in_one_line(error)) from error
    except (Exception, SystemExit) as error:
        raise ImportBroken(in_one_line(error)) from error


def _only(path: str, module: Any) -> Any:
    """Return the application of a module, else its model. Raises NoTarget where there is not exactly one."""
    apps = {name: value for name, value in vars(module).items() if isinstance(value, Gateway)}
    choice = apps or _models(module)
    if len({id(value) for value in choice.values()}) != 1:
        some = "has several: name one of them" if choice else "has no application and no model"
        raise NoTarget(f"{path} {some}{_listed(choice)}")
    return next(iter(choice.values()))


def _candidates(module: Any) -> Iterable[str]:
    return [name for name, value in vars(module).items() if isinstance(value, Gateway)] + list(_models(module))


def _models(module: Any) -> dict[str, Any]:
    own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    return {name: value for name, value in own.items() if not name.startswith("_") and _is_typed(value)}


def _listed(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"; it has {listed}" if listed else ""


def application(target: str) -> Gateway:
    """Return the application that ``target`` names. Raises NoTarget for anything else."""
    found = find(target)
    if not isinstance(found, Gateway):
        raise NoTarget(f"{target} is not a Gateway")
    return found


def servable(target: str) -> Any:
    """Return the application to serve: a WSGI application, or one made of a model. Raises NoTarget."""
    found = find(target)
    if not isinstance(found, Gateway) and is_model(found):
        return _made_of(found, Settings.from_environment())
    if not callable(found):
        raise NoTarget(f"{target} is neither an application nor a model")
    return found


def served(target: str) -> Gateway:
    """An application with the model that ``target`` names on ``/``: the one it was registered as, where it was."""
    found = find(target)
    if isinstance(found, Gateway):
        return found
    if not callable(found):
        raise NoTarget(f"{target} is neither an application nor a model")
    return _made_of(found, Settings.from_environment(log_exception_text=True))  # the author's own screen


def _made_of(target: Any, settings: Settings) -> Gateway:
    app = Gateway(__name__, settings=settings)
    if fresh := next(filter(None, (model.fresh("/") for model in _registered(target))), None):
        app.add_model("/", fresh)
    elif is_plain(target):
        app.add_inference_route("/", target)
    else:
        try:
            app.model("/")(target)
        except TypeError as error:
            raise ImportBroken(in_one_line(error, target)) from error
    return app


def _registered(target: Any) -> list[Model]:
    """The models that applications of the same module made of ``target``."""
    module = inspect.getmodule(target)
    apps = [value for value in vars(module).values() if isinstance(value, Gateway)] if module else []
    models = [model for app in apps for model in app.service.models.values()]
    return [model for model in models if model.target is target]


def is_model(target: Any) -> bool:
    """Return True for a class with ``predict``, a typed function or a plain handler; not for a WSGI application.

    A function with types whose declaration is wrong is one too, so that its author learns what is wrong.
    """
    if inspect.isclass(target):
        return callable(getattr(target, "predict", None))
    if not inspect.isfunction(target) or next(iter(inspect.signature(target).parameters), "") == "environ":
        return False
    return is_plain(target) or bool(target.__annotations__)


def _is_typed(target: Any) -> bool:
    if not (inspect.isfunction(target) or is_model(target)):
        return False
    try:
        return bool(_declaration(target).inputs)
    except TypeError:
        return False


def is_plain(target: Any) -> bool:
    """Return True if a function is a plain handler: its signature declares no input from a study."""
    try:
        return not _declaration(target).inputs
    except TypeError:
        parameters = inspect.signature(target).parameters.values()
        return len([each for each in parameters if each.default is each.empty]) == PLAIN_ARGUMENTS


def _declaration(target: Any) -> Any:
    from gateway.binding.declaration import read_declaration  # pydantic, which a server of plain handlers spares

    return read_declaration(target)
