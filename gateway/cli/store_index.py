"""The index of the store that the environment names, for verbs of the operator on the machine of the gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.studies.index import Index


@contextmanager
def opened_index(verb: str) -> Iterator["Index"]:
    """Open the index for a verb. Raises ValueError with a sentence where the environment names no store."""
    from gateway.config import Settings

    settings = Settings.from_environment()
    if settings.store_folder is None or not settings.store_folder.is_dir():
        raise ValueError(f"{verb} needs the store of the gateway: set GATEWAY_STORE_FOLDER as the gateway has it.")
    from gateway.studies.index import Index

    index = Index(settings.store_folder, settings.database_url)
    try:
        yield index
    finally:
        index.close()
