"""``LocalClient``: a gateway for one user and one folder, without a server.

::

    with LocalClient("store", "models.app:app") as client:
        result = client.infer(client.upload("study"), "/segmentation-3d")
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.access import listeners
from gateway.app import Gateway
from gateway.client import Client
from gateway.client.wsgi import LOCAL, WSGI, session
from gateway.config import Settings
from gateway.contract.model import Model
from gateway.targets import served

IN_PROCESS = b"this process"
"""Where a LocalClient's gateway listens. Like a Unix socket's path it is no network address: it has no other callers,
and this one has an administrator's rights."""


class LocalClient(Client):
    """A Client on an application in this process that stores its studies, results and bundles in ``folder``.

    ``app`` is one, or ``module:name`` of an application or a model; a Gateway with another store is replaced
    by one with its models and settings, and this store. Without it only the store answers. All else is as in a Client,
    threads included. Raises NoTarget for a name that leads nowhere.
    """

    def __init__(self, folder: str | Path, app: WSGI | str | None = None, **options: Any) -> None:
        if not listeners.addresses():  # an announced server decides who has access
            listeners.announce([IN_PROCESS])
        target = served(app) if isinstance(app, str) else app
        self._app = _at_home(target, Path(folder)) if target is None or isinstance(target, Gateway) else target
        super().__init__(LOCAL, session=session(self._app), **options)

    def close(self) -> None:
        """Close the models of the application."""
        super().close()
        if isinstance(self._app, Gateway):
            self._app.close()


def _at_home(app: Gateway | None, folder: Path) -> Gateway:
    """A Gateway with the models of ``app`` whose store is ``folder``."""
    settings = app.settings if app is not None else Settings.from_environment()
    if app is not None and settings.store_folder == folder:
        return app
    made = Gateway(__name__, settings=replace(settings, store_folder=folder))
    models: Mapping[str, Model] = app.service.models if app is not None else {}
    for route, model in models.items():
        if (fresh := model.fresh(route)) is not None:
            made.add_model(route, fresh)
    return made
