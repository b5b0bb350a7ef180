"""The notice that a rule asks for, where its model has not analysed a study."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import BinaryIO

from gateway import __version__
from gateway.binding.typed_model import TypedModel
from gateway.contract.model import Model
from gateway.contract.requests import Provenance
from gateway.dicom.reading.instances import Instance, read_instance
from gateway.dicom.writing.notice import Cause, notice
from gateway.errors import LimitExceeded, StudyRefused
from gateway.observe.logs import exception_frames
from gateway.routing.rules import Rule

logger = logging.getLogger("gateway")


def notice_file(
    rule: Rule, model: Model, cause: Cause, reason: str, *, files: Iterable[BinaryIO], content: str, made_at: float
) -> bytes | None:
    """Return the notice of a rule as a Part 10 file; None where it asks for none, or where none can be made.

    ``files`` are instances that were not analysed, and ``content`` is their digest. ``made_at`` is in seconds since
    1970, the same each time that this notice is made: then its bytes are the same in any process.
    """
    source = list(_readable(files))
    if rule.notice == "none" or not source:
        return None
    try:
        given = _provenance(rule, model, content, datetime.fromtimestamp(made_at, UTC))
        return notice(rule.notice, cause, reason, source=source, provenance=given)
    except Exception as error:  # a header of any kind; a study without a notice is worse off, one in a loop is worse
        logger.error("no notice could be made for the rule %s\n%s", rule.name, exception_frames(error))
        return None


def _readable(files: Iterable[BinaryIO]) -> Iterator[Instance]:
    """Yield the instances whose headers can be read; another may be the reason of the notice."""
    for file in files:
        with suppress(StudyRefused, LimitExceeded):
            yield read_instance(file)


def _provenance(rule: Rule, model: Model, content: str, made_at: datetime) -> Provenance:
    """Return what does not depend on the process: the digest of a model is known where it is set up alone."""
    return Provenance(
        model_name=model.describe().name,
        model_version=model.options.version if isinstance(model, TypedModel) else "",
        input_digest=content,
        parameters_digest=hashlib.sha256(json.dumps(dict(rule.parameters), sort_keys=True).encode()).hexdigest(),
        received=made_at,
        research=model.research,
        gateway_version=__version__,
    )
