"""``TaggedLogger`` under the name that services import it by."""

from gateway.observe.logs import TaggedLogger

__all__ = ["TaggedLogger"]
