"""The header of an image that is not DICOM, which states nothing: what only DICOM states is refused, never made up."""

from typing import Any, NoReturn

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from gateway.errors import StudyRefused


class NoHeader(Dataset):
    """The header of a tensor: a look-up of an attribute is refused, with the keyword of the attribute."""

    carrier = "a tensor"
    """What the image is, in a sentence."""

    def __getattr__(self, name: str) -> Any:
        if tag_for_keyword(name) is not None:
            self._refuse(name)
        return super().__getattr__(name)

    def __getitem__(self, key: Any) -> NoReturn:
        self._refuse(key)

    def __contains__(self, name: object) -> NoReturn:
        self._refuse(name)

    def get(self, key: Any, default: Any = None) -> NoReturn:
        """Refuse, with a default too: the model would take it for what the image states."""
        self._refuse(key)

    def _refuse(self, key: object) -> NoReturn:
        keyword = keyword_for_tag(key) if isinstance(key, int) else key if isinstance(key, str) else ""
        what = keyword if tag_for_keyword(keyword) is not None else "an attribute"
        raise StudyRefused(
            f"The model reads {what} of the DICOM header, which {self.carrier} does not have: send the study as DICOM"
            " files.",
            private=f"{self.carrier} has no header",
        )


class NoNiftiHeader(NoHeader):
    """The DICOM header of a NIfTI file, which has none."""

    carrier = "a NIfTI file"
