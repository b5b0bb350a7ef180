"""The Native DICOM Model (PS3.19 A.1) in XML, made from the JSON model of the same data set."""

from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

from gateway.dicom.web.json_model import JsonModel

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_FORBIDDEN = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(55296, 57344), 65534, 65535))
"""Code points that XML 1.0 cannot represent (its production 2, Char)."""


def xml_model(model: JsonModel) -> bytes:
    """Return the document of one data set."""
    body = "".join(_attribute(tag, element) for tag, element in model.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
        f"{body}</NativeDicomModel>"
    ).encode()


def _attribute(tag: str, element: dict[str, Any]) -> str:
    keyword = keyword_for_tag(int(tag, 16))
    named = f" keyword={quoteattr(keyword)}" if keyword else ""
    return f'<DicomAttribute tag="{tag}" vr="{element["vr"]}"{named}>{_content(element)}</DicomAttribute>'


def _content(element: dict[str, Any]) -> str:
    if "BulkDataURI" in element:
        return f"<BulkData uri={quoteattr(element['BulkDataURI'])}/>"
    if "InlineBinary" in element:
        return f"<InlineBinary>{element['InlineBinary']}</InlineBinary>"
    writer = _WRITERS.get(element["vr"], _value)
    return "".join(writer(number, value) for number, value in enumerate(element.get("Value", ()), 1))


def _item(number: int, model: JsonModel) -> str:
    return f'<Item number="{number}">{"".join(_attribute(tag, element) for tag, element in model.items())}</Item>'


def _person(number: int, name: dict[str, str] | None) -> str:
    groups = "".join(f"<{group}>{_components(name[group])}</{group}>" for group in _GROUPS if name and group in name)
    return f'<PersonName number="{number}">{groups}</PersonName>'


def _components(text: str) -> str:
    pairs = zip(_COMPONENTS, text.split("^"), strict=False)
    return "".join(f"<{name}>{_text(part)}</{name}>" for name, part in pairs if part)


def _value(number: int, value: object) -> str:
    return f'<Value number="{number}">{"" if value is None else _text(str(value))}</Value>'


_WRITERS: dict[str, Callable[[int, Any], str]] = {"SQ": _item, "PN": _person}


def _text(text: str) -> str:
    return escape(text.translate(_FORBIDDEN))
