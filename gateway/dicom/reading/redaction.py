"""Names of instances in refusals: digests, since neither names nor UIDs are for logs."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.dicom.reading.files import NotAnInstance, Source, opened
from gateway.errors import StudyRefused

DIGITS = 16
"""Hexadecimal digits of the sha256 that name a file: enough to find one file among all."""

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
        digest = digest_of(source)
        detail = f"{error.detail} The instance is that whose sha256 begins with {digest}."
        raise Named(detail, private=f"{error.private} sha256 {digest}".strip(), **error.members) from error


def digest_of(source: Source) -> str:
    """The first ``DIGITS`` of the sha256 of a file."""
    digest = hashlib.sha256()
    with opened(source) as file:
        while data := file.read(_CHUNK):
            digest.update(data)
    return digest.hexdigest()[:DIGITS]
