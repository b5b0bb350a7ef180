"""The page below ``/ui``: its files, logins, and what it is told of models and studies (docs/ui.md)."""

from collections.abc import Collection

import flask

from gateway.endpoints import preflight
from gateway.endpoints.guarded_views import Rule, answering
from gateway.endpoints.ui import page_files, page_logins, page_words, shown_files

PREFIX = "/ui"
RULES: tuple[Rule, ...] = (*page_files.RULES, *page_logins.RULES, *page_words.RULES, *shown_files.RULES)


def add_ui(app: flask.Flask, taken: Collection[str]) -> None:
    """Add the routes, but for the paths that the service has ``taken``; preflight too, where no store has added it."""
    rules = [(method, f"{PREFIX}{path}", view) for method, path, view in RULES]
    if app.extensions["gateway"].store is None:
        rules += preflight.RULES
    else:
        from gateway.endpoints.ui import shown_studies  # SQLAlchemy, which a gateway without a store spares

        rules += [(method, f"{PREFIX}{path}", view) for method, path, view in shown_studies.RULES]
    pages = flask.Blueprint("gateway_ui", __name__)
    for method, path, view in rules:
        if path not in taken:
            endpoint = f"{method} {path}".replace(".", " ")
            pages.add_url_rule(path, endpoint, answering(view), methods=[method], strict_slashes=path != PREFIX)
    app.register_blueprint(pages)
