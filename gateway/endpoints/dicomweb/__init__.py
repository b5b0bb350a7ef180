"""DICOMweb (PS3.18) below ``/dicomweb``: QIDO-RS, WADO-RS and STOW-RS on the study store (docs/dicomweb.md)."""

from collections.abc import Collection
from functools import wraps

import flask

from gateway.endpoints.dicomweb import qido, rendered, stow, wado
from gateway.endpoints.guarded_views import P, Rule, View, answering
from gateway.endpoints.store_views import store_context
from gateway.errors import NotAcceptable, StudyRefused
from gateway.studies.query import filling

PREFIX = "/dicomweb"
RULES: tuple[Rule, ...] = (*qido.RULES, *wado.RULES, *rendered.RULES, *stow.RULES)


def add_dicomweb(app: flask.Flask, taken: Collection[str]) -> None:
    """Add the routes but for the paths that the service has ``taken``, and begin to fill the tables of queries.

    Raises ValueError where there is no study store.
    """
    if app.extensions["gateway"].store is None:
        raise ValueError("dicomweb (GATEWAY_DICOMWEB) needs a study store: set store_folder (GATEWAY_STORE_FOLDER).")
    pages = flask.Blueprint("gateway_dicomweb", __name__, url_prefix=PREFIX)
    for method, path, view in RULES:
        if f"{PREFIX}{path}" not in taken:
            pages.add_url_rule(
                path, f"{method} {path}".replace(".", " "), answering(_represented(view)), methods=[method]
            )
    app.register_blueprint(pages)
    with app.app_context():
        filling.begin(store_context().store)


def _represented(view: View[P]) -> View[P]:
    """A view whose stored file cannot be decoded or drawn: no other representation than its bytes is possible."""

    @wraps(view)
    def answered(*args: P.args, **kwargs: P.kwargs) -> flask.Response:
        try:
            return view(*args, **kwargs)
        except StudyRefused as error:
            raise NotAcceptable(error.detail, private=error.private) from error

    return answered
