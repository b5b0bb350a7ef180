"""For plain gunicorn: ``gunicorn -c python:gateway.gunicorn_conf models.app:app``."""

from gateway.config import DEFAULT_PORT
from gateway.server.master import DEFAULTS, HOOKS

bind = f"127.0.0.1:{DEFAULT_PORT}"
globals().update(DEFAULTS | HOOKS)
