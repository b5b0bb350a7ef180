"""How what was set aside is found again when its study is forgotten, without the study's UID in a file's name."""

import hashlib


def label(study_instance_uid: str) -> str:
    """The sha256 of a Study Instance UID, in 64 hexadecimal digits."""
    return hashlib.sha256(study_instance_uid.encode()).hexdigest()
