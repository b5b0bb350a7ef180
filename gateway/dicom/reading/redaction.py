"""Names of instances in refusals: digests, since neither names nor UIDs are for logs."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.dicom.reading.files import NotAnInstance, Source, opened
from gateway.errors import StudyRefused

DIGITS = 16
"""Hexadecimal digits of the sha256 that are told: enough to find one file among all."""

_CHUNK = 1 << 20


class Named(StudyRefused):
    """A refusal that names its instance."""


@contextmanager
def naming(source: Source) -> Iterator[None]:
    """Let a StudyRefused from inside name its instance, once; NotAnInstance is about no instance."""
    try:
        yield
    except (NotAnInstance, Named):
        raise
    except StudyRefused as error:
        detail = f"{error.detail} The instance is that whose sha256 begins with {_digest(source)}."
        raise Named(detail, private=error.private, **error.members) from error


def _digest(source: Source) -> str:
    digest = hashlib.sha256()
    with opened(source) as file:
        while data := file.read(_CHUNK):
            digest.update(data)
    return digest.hexdigest()[:DIGITS]
