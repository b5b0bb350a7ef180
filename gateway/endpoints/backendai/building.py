"""The build of a batch: the files of a session are read, and its model says whether it takes them."""

from collections import Counter
from dataclasses import dataclass

from gateway.contract.model import Model
from gateway.endpoints.backendai.compute_sessions import ComputeSession
from gateway.endpoints.backendai.session_files import SessionFiles
from gateway.errors import GatewayError


@dataclass(frozen=True)
class BuildReport:
    """What was found, and the ``faults`` for which the model would refuse it, "" without any; lines of text."""

    text: str
    faults: str = ""


def build(model: Model, files: SessionFiles, session: ComputeSession) -> BuildReport:
    """Read the headers of a session's files, as a preflight does. Raises SessionFileNotFound, Unavailable."""
    from gateway.binding.preflight import preflight  # pydantic and pydicom, which plain models do not need
    from gateway.binding.typed_model import TypedModel

    stored = files.all(session)
    studies = Counter(each.study for each in stored if each.study)
    text = f"{len(stored)} files, of which {studies.total()} are DICOM, of {len(studies)} studies.\n"
    if not isinstance(model, TypedModel):
        return BuildReport(f"{text}The model checks what it is given when it runs.\n")
    with files.opened(stored) as opened:
        try:
            (opinion,) = preflight({session.route: model}, opened)
        except GatewayError as error:
            return BuildReport(text, f"{error.detail}\n")
    text += f"{len(opinion.series)} series.\n"
    return BuildReport(text, "".join(f"{reason}\n" for reason in opinion.request.reasons))
