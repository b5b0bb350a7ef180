"""The UIDs of a request's images that an answer repeats: missing ones are refused before the model runs."""

from collections.abc import Iterable, Iterator

from gateway.binding.declaration import Declaration
from gateway.contract.findings import MASKS, BoundingBox, Finding, LinearMeasurement
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.named_images import INSTANCE, NAMED, SERIES, require_named
from gateway.dicom.reading.raw_values import distinct
from gateway.dicom.volumes.study import Image
from gateway.errors import AnswerInvalid


def require_uids(instances: Iterable[Instance], declaration: Declaration, *, dicom: bool) -> None:
    """Refuse an image without a UID that the answer names, as JSON or as ``dicom``.

    Raises StudyRefused with the attribute and the digest of the file.
    """
    require_named(instances, dict.fromkeys(NAMED if dicom else _needed(declaration)))


def require_one_space(findings: Iterable[Finding], instances: Iterable[Instance]) -> None:
    """Refuse a length in mm that names no image where the images are in several frames of reference.

    Millimetres of one frame say nothing in another (PS3.3 C.7.4.1). Raises AnswerInvalid.
    """
    loose = any(isinstance(one, LinearMeasurement) and one.of is None and len(one.start) == 3 for one in findings)
    if loose and distinct((one.header for one in instances if one.frames), "FrameOfReferenceUID") > 1:
        raise AnswerInvalid(
            "", "A length in mm names no image, and the images are in several frames of reference: give it of=."
        )


def _needed(declaration: Declaration) -> Iterator[str]:
    """The UIDs in JSON: a mask on an image and an annotation name the image, a mask on a volume its series."""
    types = {one.type for one in declaration.inputs if one.of_images}
    masks = any(output in MASKS for output in declaration.outputs)
    if Image in types and masks or any(one in declaration.outputs for one in (BoundingBox, LinearMeasurement)):
        yield INSTANCE
    if masks and types - {Image}:
        yield SERIES
