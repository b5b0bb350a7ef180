"""Commands of DIMSE, in implicit VR little endian (PS3.7 6.3 and annex E)."""

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from gateway.dimse.upper_layer import AbortReason, ConnectionEnded

MAX_COMMAND = 16_384
"""Bytes of a command: its UIDs, titles and numbers take less than 1 KiB."""
NO_DATA_SET, DATA_SET = 0x0101, 0x0001
"""Command Data Set Type: no data set follows, and any other value (PS3.7 E.1-1)."""
RESPONSE = 0x8000
"""The bit of Command Field that marks a response."""


class CommandField(IntEnum):
    """Command Field of requests (PS3.7 E.1)."""

    C_STORE = 0x0001
    C_GET = 0x0010
    C_FIND = 0x0020
    C_MOVE = 0x0021
    C_ECHO = 0x0030
    N_ACTION = 0x0130
    C_CANCEL = 0x0FFF


class CommandElement(IntEnum):
    """Elements of group 0000."""

    SOP_CLASS = 0x0002
    REQUESTED_CLASS = 0x0003
    FIELD = 0x0100
    MESSAGE_ID = 0x0110
    RESPONDED_TO = 0x0120
    DESTINATION = 0x0600
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    COMMENT = 0x0902
    SOP_INSTANCE = 0x1000
    REQUESTED_INSTANCE = 0x1001
    ACTION_TYPE = 0x1008
    REMAINING = 0x1020
    COMPLETED = 0x1021
    FAILED = 0x1022
    WARNING = 0x1023
    ORIGINATOR = 0x1030
    ORIGINATOR_MESSAGE = 0x1031


_TEXTS = frozenset(
    {
        CommandElement.SOP_CLASS,
        CommandElement.REQUESTED_CLASS,
        CommandElement.DESTINATION,
        CommandElement.COMMENT,
        CommandElement.SOP_INSTANCE,
        CommandElement.REQUESTED_INSTANCE,
        CommandElement.ORIGINATOR,
    }
)
_UIDS = frozenset(
    {
        CommandElement.SOP_CLASS,
        CommandElement.REQUESTED_CLASS,
        CommandElement.SOP_INSTANCE,
        CommandElement.REQUESTED_INSTANCE,
    }
)
_AFFECTED = (
    (CommandElement.SOP_CLASS, CommandElement.REQUESTED_CLASS),
    (CommandElement.SOP_INSTANCE, CommandElement.REQUESTED_INSTANCE),
)
"""The UIDs of a response, and those of a DIMSE-N request that they repeat (PS3.7 10.3)."""
COMMENT_CHARACTERS = 64
"""Characters of an Error Comment, a LO (PS3.5 6.2)."""


NO_NUMBERS: Mapping[CommandElement, int] = {}


class Command:
    """The elements of one command."""

    def __init__(self, values: dict[int, Any]) -> None:
        self.values = values

    def text(self, element: CommandElement) -> str:
        """Return a UID or a title; "" where it is absent."""
        return str(self.values.get(element, ""))

    def number(self, element: CommandElement, default: int = 0) -> int:
        """Return a number; ``default`` where it is absent."""
        return int(self.values.get(element, default))

    @property
    def has_data_set(self) -> bool:
        """Return True if a data set follows."""
        return self.number(CommandElement.DATA_SET_TYPE, NO_DATA_SET) != NO_DATA_SET

    def response(self, status: int, comment: str = "", numbers: Mapping[CommandElement, int] = NO_NUMBERS) -> "Command":
        """Return the response to this request; ``numbers`` are further elements."""
        uids = ((affected, self.text(affected) or self.text(requested)) for affected, requested in _AFFECTED)
        answer: dict[int, Any] = {int(affected): uid for affected, uid in uids if uid}
        answer |= {
            CommandElement.FIELD: self.number(CommandElement.FIELD) | RESPONSE,
            CommandElement.RESPONDED_TO: self.number(CommandElement.MESSAGE_ID),
            CommandElement.DATA_SET_TYPE: NO_DATA_SET,
            CommandElement.STATUS: status,
        }
        if comment:
            answer[CommandElement.COMMENT] = comment[:COMMENT_CHARACTERS]
        return Command(answer | {int(element): number for element, number in numbers.items()})

    def encode(self) -> bytes:
        """Return the bytes, with the group length first."""
        parts = []
        for element, value in sorted(self.values.items()):
            data = _text(element, value) if isinstance(value, str) else struct.pack("<H", value)
            parts.append(struct.pack("<HHL", 0, element, len(data)) + data)
        body = b"".join(parts)
        return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _text(element: int, value: str) -> bytes:
    data = value.encode("ascii", "replace")
    return data + (b"\0" if element in _UIDS else b" ") * (len(data) % 2)


def decode(data: bytes) -> Command:
    """Read a command. Raises ConnectionEnded for bytes that are no command of PS3.7."""
    values: dict[int, Any] = {}
    at = 0
    try:
        while at < len(data):
            group, element, length = struct.unpack_from("<HHL", data, at)
            value = data[at + 8 : at + 8 + length]
            if group or len(value) != length:
                raise ValueError
            at += 8 + length
            if element in _TEXTS:
                values[element] = value.decode("ascii").strip(" \0")
            elif length == 2:
                values[element] = struct.unpack("<H", value)[0]
    except (struct.error, ValueError):
        raise ConnectionEnded("invalid-command", AbortReason.PARAMETER_INVALID) from None
    if CommandElement.FIELD not in values:
        raise ConnectionEnded("invalid-command", AbortReason.PARAMETER_INVALID)
    return Command(values)
