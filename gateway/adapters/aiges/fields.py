"""The fields by which a wrapper declares its parameters, its inputs and its outputs (``aiges.sdk``).

A field's ``test_value`` is the local run's; a ``path`` is read when that is accessed, not when it is declared.
"""

import base64
from pathlib import Path
from typing import Any

from gateway.adapters.aiges.constants import AUDIO, IMAGE, STRING

__all__ = [
    "AudioBodyField",
    "BooleanParamField",
    "DicomBodyField",
    "Field",
    "ImageBodyField",
    "IntegerParamField",
    "JsonBodyField",
    "NumberParamField",
    "ParamField",
    "PayloadField",
    "StringBodyField",
    "StringParamField",
]


class Field:
    """A declared name: ``data_type`` is a JSON type for a parameter, a number of ``aiges.core.types`` for a body."""

    def __init__(self, key: str, data_type: Any) -> None:
        self.key = key
        self.data_type = data_type
        self.title = ""
        self.description = ""

    @property
    def test_value(self) -> Any:
        """The value that the local run uses for it."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__}:{self.key}>"


class ParamField(Field):
    """A member of ``params``."""

    value: Any = None
    enums: Any = ()
    required = False

    @property
    def test_value(self) -> Any:
        return self.value


class PayloadField(Field):
    """A piece of a request or of an answer."""

    value: Any = b""

    @property
    def test_value(self) -> Any:
        return self.value


class StringParamField(ParamField):
    """Text of ``minLength`` to ``maxLength`` characters, or one of ``enums``."""

    def __init__(
        self,
        key: str,
        minLength: int = 0,
        maxLength: int = 1024,
        enums: Any = (),
        required: bool = False,
        value: str = "",
        description: str = "",
        title: str = "",
    ) -> None:
        super().__init__(key, "string")
        self.min_length, self.max_length = minLength, maxLength
        self.enums, self.required, self.value = enums, required, value
        self.description, self.title = description, title


class NumberParamField(ParamField):
    """A number from ``minimum`` to ``maximum``, or one of ``enums``."""

    json_type = "number"

    def __init__(
        self,
        key: str,
        minimum: float = 0,
        maximum: float = 100,
        enums: Any = (),
        required: bool = False,
        value: float = 0,
    ) -> None:
        super().__init__(key, self.json_type)
        self.minimum, self.maximum = minimum, maximum
        self.enums, self.required, self.value = enums, required, value


class IntegerParamField(NumberParamField):
    """A whole number from ``minimum`` to ``maximum``, or one of ``enums``."""

    json_type = "integer"


class BooleanParamField(ParamField):
    """true or false."""

    def __init__(self, key: str, title: str = "", default: bool = False, required: bool = False) -> None:
        super().__init__(key, "boolean")
        self.title, self.required = title, required
        self.default = self.value = default


class StringBodyField(PayloadField):
    """Text as bytes."""

    def __init__(
        self,
        key: str,
        value: bytes = b" ",
        need_base64: bool = False,
        encoding: str = "utf8",
        format: str = "plain",
        compress: str = "raw",
        status: int = 3,
    ) -> None:
        if not isinstance(value, bytes):
            raise TypeError(f"the value of StringBodyField {key!r} should be bytes")
        super().__init__(key, STRING)
        self.value, self.need_base64 = value, need_base64
        self.encoding, self.format, self.compress, self.status = encoding, format, compress, status

    @property
    def test_value(self) -> Any:
        return base64.b64encode(self.value) if self.need_base64 else self.value


class JsonBodyField(PayloadField):
    """JSON as text."""

    def __init__(self, key: str, value: Any = "", need_base64: bool = False) -> None:
        super().__init__(key, STRING)
        self.value, self.need_base64 = value, need_base64

    @property
    def test_value(self) -> Any:
        return base64.b64encode(_bytes(self.value)) if self.need_base64 else self.value


class _FileBodyField(PayloadField):
    """A file's bytes; the local run reads it from ``path``."""

    kind: int
    missing = b""

    def __init__(self, key: str, path: str, encoding: str, status: int, need_base64: bool = False) -> None:
        super().__init__(key, self.kind)
        self.path, self.encoding, self.status, self.need_base64 = path, encoding, status, need_base64

    @property
    def test_value(self) -> Any:
        if not Path(self.path).is_file():
            return self.missing
        data = Path(self.path).read_bytes()
        return base64.b64encode(data) if self.need_base64 else data


class AudioBodyField(_FileBodyField):
    """Sound."""

    kind = AUDIO

    def __init__(
        self,
        key: str,
        path: str = "",
        encoding: str = "raw",
        format: str = "plain",
        compress: str = "raw",
        status: int = 3,
    ) -> None:
        super().__init__(key, path, encoding, status)
        self.format, self.compress = format, compress


class ImageBodyField(_FileBodyField):
    """A picture."""

    kind = IMAGE
    missing = b"<your image base64 here>"

    def __init__(
        self, key: str, path: str = "", need_base64: bool = False, encoding: str = "jpg", status: int = 3
    ) -> None:
        super().__init__(key, path, encoding, status, need_base64)


class DicomBodyField(_FileBodyField):
    """DICOM instances (PS3.10), one piece of the request for each: ours, so that a wrapper can serve a study.

    ``path`` is a file or a folder of a study; the local run gives its instances in spatial order.
    """

    kind = IMAGE

    def __init__(self, key: str, path: str = "", status: int = 3) -> None:
        super().__init__(key, path, "dcm", status)

    @property
    def test_values(self) -> list[bytes]:
        """The files of the study below ``path``."""
        from gateway.dicom.reading.instances import read_study, spatial_order

        if not self.path:
            return []
        return [Path(str(instance.source)).read_bytes() for instance in spatial_order(read_study(Path(self.path)))]


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def declared(holder: Any, kind: type[Any]) -> list[Any]:
    """Return the fields of one kind in the body of ``requestCls`` or ``responseCls``, in their order."""
    owner = holder if isinstance(holder, type) else type(holder)
    return [value for value in vars(owner).values() if isinstance(value, kind)]
