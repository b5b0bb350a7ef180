"""gunicorn's ``worker_class`` under the name that configurations use."""

from gateway.server.worker import Worker

__all__ = ["Worker"]
