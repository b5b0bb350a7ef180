"""Decoders: a small image in each transfer syntax is decoded as a study would be, and its values are compared."""

from gateway.doctor.diagnoses import Diagnosis, Level

FAMILIES = ("uncompressed", "RLE", "JPEG", "JPEG Lossless", "JPEG-LS", "JPEG 2000", "HTJ2K")
"""As ``gateway.dicom.samples.specimens`` has them; named here too, to tell them apart where pydicom is missing."""
OPTIONAL = {"JPEG Lossless"}
"""What an extra decodes: such studies are refused without it, all others are served."""


def codec(family: str) -> Diagnosis:
    """Check that this machine decodes each transfer syntax of a family to the values that were encoded."""
    from gateway.dicom.samples.specimens import FAMILIES as SPECIMENS

    name, specimens = f"codec {family}", SPECIMENS[family]
    refusals = [refusal for specimen in specimens if (refusal := specimen.refusal())]
    if not refusals:
        return Diagnosis(name, Level.OK, f"{len(specimens)} of {len(specimens)} transfer syntaxes are decoded.")
    level = Level.WARN if family in OPTIONAL else Level.FAIL
    remedy = "Studies in it are refused until then."
    return Diagnosis(name, level, refusals[0], remedy)
