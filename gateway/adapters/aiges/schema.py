"""The schema of a wrapper in the legacy form of aiges 0.16.0, which its web gateway reads."""

from collections.abc import Callable
from typing import Any

from gateway.adapters.aiges.constants import AUDIO, IMAGE, STRING
from gateway.adapters.aiges.fields import ParamField, PayloadField, declared

Schema = dict[str, Any]

HEADER = (
    "uid",
    "device_id",
    "device.imei",
    "device.imsi",
    "device.mac",
    "device.other",
    "net.type",
    "net.isp",
    "app.ver",
)
"""Members of a request's header, beside its ``appid``."""


def legacy_schema(wrapper: Any) -> Schema:
    """Return the schema of a wrapper class or instance. Raises ValueError if it declares no inputs or no outputs."""
    service, version = wrapper.serviceId, wrapper.version
    params = declared(wrapper.requestCls, ParamField)
    inputs = _bodies(wrapper.requestCls, "requestCls", "input")
    accepts = _bodies(wrapper.responseCls, "responseCls", "output")
    meta = {
        "serviceId": service,
        "version": version,
        "route": getattr(wrapper, "route", f"/{version}/private/{service}"),
        "sub": getattr(wrapper, "sub", "ase"),
        "call": getattr(wrapper, "call", "atmos"),
        "call_type": int(getattr(wrapper, "call_type", 0)),
        "hosts": "api.xf-yun.com",
        "service": [service],
        "routeKey": [],
        service: {"input": _types(inputs), "accept": _types(accepts)},
    }
    parameter = _object({p.key: _parameter(p) for p in params}) | {"required": [p.key for p in params if p.required]}
    request = {"header": _header(), "parameter": _object({service: parameter}), "payload": _payload(inputs)}
    return {"meta": meta, "schemainput": _object(request), "schemaoutput": _object({"payload": _payload(accepts)})}


def _bodies(holder: Any, where: str, what: str) -> list[Any]:
    fields = declared(holder, PayloadField)
    if not fields:
        raise ValueError(f"{where} should declare at least one {what} field")
    return [field for field in fields if field.data_type in BODIES]


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


def _header() -> Schema:
    return _object({name: _text(maxLength=50) for name in ("appid", *HEADER)}) | {"required": ["appid"]}


def _types(fields: list[Any]) -> Schema:
    return {field.key: {"dataType": BODIES[field.data_type][0]} for field in fields}


def _payload(fields: list[Any]) -> Schema:
    return _object({field.key: _object(BODIES[field.data_type][1](field)) for field in fields})


def _parameter(field: Any) -> Schema:
    """Return a parameter's schema, with an upper bound only, as in the original."""
    if field.data_type == "boolean":
        return {"type": "boolean", "default": field.default}
    if field.enums:
        return {"type": field.data_type, "enum": list(field.enums)}
    if field.data_type == "string":
        return _text(maxLength=field.max_length)
    return {"type": field.data_type, "maximum": field.maximum}


def _text(**rules: Any) -> Schema:
    return {"type": "string", **rules}


def _whole(*allowed: int) -> Schema:
    return {"type": "integer", "enum": list(allowed)} if allowed else {"type": "integer"}


def _text_body(_: Any) -> Schema:
    return {
        "encoding": _text(enum=["utf8", "gb2312"]),
        "compress": _text(enum=["gzip"]),
        "status": _whole(0, 1, 2, 3),
        "seq": _whole(),
        "text": _text(),
    }


def _audio_body(_: Any) -> Schema:
    return {
        "encoding": _text(enum=["opus", "speex"]),
        "sample_rate": _whole(8000, 16000),
        "bit_depth": _whole(8, 16),
        "channels": _whole(1, 2),
        "status": _whole(0, 1, 2, 3),
        "seq": _whole(),
        "audio": _text(),
    }


def _image_body(field: Any) -> Schema:
    encodings = ["dcm"] if field.encoding == "dcm" else ["jpg", "png", "bmp", "jpeg"]
    return {
        "encoding": _text(enum=encodings),
        "image": _text(minLength=1, maxLength=10485760),
        "status": _whole(3),
    }


BODIES: dict[int, tuple[str, Callable[[Any], Schema]]] = {
    STRING: ("text", _text_body),
    AUDIO: ("audio", _audio_body),
    IMAGE: ("image", _image_body),
}
