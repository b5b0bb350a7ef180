"""The notice that a rule asks for, where its model has not analysed a study."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import BinaryIO

from gateway import __version__
from gateway.binding.typed_model import TypedModel
from gateway.contract.model import Model
from gateway.contract.requests import Provenance
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.writing.notice import Cause, notice
from gateway.routing.rules import Rule


def notice_file(
    rule: Rule, model: Model, cause: Cause, reason: str, *, files: Sequence[BinaryIO], content: str, made_at: float
) -> bytes | None:
    """Return the notice of a rule as a Part 10 file; None where the rule asks for none.

    ``files`` are instances that were not analysed, one at least, and ``content`` is their digest. ``made_at`` is in
    seconds since 1970, the same each time that this notice is made: then its bytes are the same in any process. Raises
    StudyRefused for a header that cannot be read.
    """
    if rule.notice == "none":
        return None
    parameters = hashlib.sha256(json.dumps(dict(rule.parameters), sort_keys=True).encode()).hexdigest()
    provenance = Provenance(
        model_name=model.describe().name,
        model_version=model.options.version if isinstance(model, TypedModel) else "",
        input_digest=content,
        parameters_digest=parameters,
        received=datetime.fromtimestamp(made_at, UTC),
        research=model.options.research if isinstance(model, TypedModel) else True,
        gateway_version=__version__,
    )
    source = [read_instance(file) for file in files]
    return notice(rule.notice, cause, reason, source=source, provenance=provenance)
