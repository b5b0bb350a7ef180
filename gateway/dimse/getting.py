"""C-GET: instances are sent back on the association that asks for them (PS3.4 C.4.3)."""

import io
from typing import BinaryIO

from gateway.dicom.reading.file_heads import FileHead, read_file_head
from gateway.dicom.web.transcoding import DEFAULT, explicit_little_endian
from gateway.dimse import commands
from gateway.dimse.commands import Command, CommandElement, CommandField
from gateway.dimse.negotiation import AcceptedContext
from gateway.dimse.served_association import ServedAssociation
from gateway.dimse.sub_operations import SubOperations, requested_instances
from gateway.dimse.upper_layer import AbortReason, ConnectionEnded
from gateway.errors import GatewayError
from gateway.studies.instance_rows import HeldInstance

UNSENDABLE = 0xA702
"""Counted for an instance that was not sent: it cannot be read, or the peer accepts none of its class."""
PIECE = 128 * 1024


def get(association: ServedAssociation, command: Command, context: AcceptedContext, data: bytes) -> None:
    """Answer a C-GET-RQ."""
    instances = requested_instances(association, command, context, data)
    if instances is None:
        return
    operations, cancelled = SubOperations(len(instances)), False
    for number, instance in enumerate(instances, 1):
        status, cancelled = _send(association, command, instance, number)
        operations.count(instance.sop_instance_uid, status)
        if cancelled or association.cancelled(command):
            cancelled = True
            break
        if operations.remaining:
            operations.pending(association, command, context)
    operations.end(association, command, context, cancelled=cancelled)
    operations.record(association, "dimse-get", instances)


def _send(association: ServedAssociation, command: Command, instance: HeldInstance, number: int) -> tuple[int, bool]:
    """Send one instance: its status, and whether the retrieval was cancelled meanwhile. Raises ConnectionEnded."""
    try:
        (file,) = association.provider.store.open_instances([instance])
    except GatewayError:
        return UNSENDABLE, False
    with file:
        try:
            head = read_file_head(file)
            context = _context(association, head.sop_class_uid, head.transfer_syntax_uid)
            if context is not None:
                return _transfer(association, command, (context, head, file), instance.sop_instance_uid, number)
            context = _context(association, head.sop_class_uid, DEFAULT)
            if context is None:
                return UNSENDABLE, False
            converted = io.BytesIO(explicit_little_endian(file))
            head = read_file_head(converted)
        except GatewayError:
            return UNSENDABLE, False
        return _transfer(association, command, (context, head, converted), instance.sop_instance_uid, number)


def _context(association: ServedAssociation, sop_class: str, syntax: str) -> AcceptedContext | None:
    for context in association.contexts.values():
        if context.retrieves and (context.abstract_syntax, context.transfer_syntax) == (sop_class, syntax):
            return context
    return None


def _transfer(
    association: ServedAssociation,
    command: Command,
    sent: tuple[AcceptedContext, FileHead, BinaryIO],
    sop_instance: str,
    number: int,
) -> tuple[int, bool]:
    context, head, file = sent
    message = number & 0xFFFF
    request = Command(
        {
            CommandElement.SOP_CLASS: head.sop_class_uid,
            CommandElement.FIELD: int(CommandField.C_STORE),
            CommandElement.MESSAGE_ID: message,
            CommandElement.PRIORITY: 0,
            CommandElement.DATA_SET_TYPE: commands.DATA_SET,
            CommandElement.SOP_INSTANCE: sop_instance,
        }
    )
    layer = association.layer
    layer.send_data(context.id, request.encode(), is_command=True)
    file.seek(head.start)
    piece = file.read(PIECE)
    while piece:
        following = file.read(PIECE)
        layer.send_data(context.id, piece, is_command=False, last=not following)
        piece = following
    return _answered(association, command, message)


def _answered(association: ServedAssociation, command: Command, message: int) -> tuple[int, bool]:
    """Wait for the response to a C-STORE-RQ, before which a C-CANCEL-RQ may come."""
    cancelled = False
    while True:
        found = association.next_command()
        number = found.number(CommandElement.FIELD)
        responded = found.number(CommandElement.RESPONDED_TO)
        if number == CommandField.C_CANCEL:
            cancelled = cancelled or responded == command.number(CommandElement.MESSAGE_ID)
        elif number == CommandField.C_STORE | commands.RESPONSE and responded == message:
            return found.number(CommandElement.STATUS, UNSENDABLE), cancelled
        else:
            raise ConnectionEnded("unexpected-pdu", AbortReason.UNEXPECTED)
