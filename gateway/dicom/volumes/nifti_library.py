"""nibabel, which reads and writes NIfTI: the extra ``nifti``."""

from types import ModuleType

from gateway.extras import hint


def nibabel() -> ModuleType:
    """Return the library. Raises ImportError, which says what to install."""
    try:
        import nibabel
    except ImportError as error:
        raise ImportError(f"NIfTI files need nibabel; {hint('nifti')}") from error
    return nibabel
