"""C-MOVE: instances are sent to a destination that the operator has configured (PS3.4 C.4.2)."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import BinaryIO

from gateway.dimse.commands import Command, CommandElement
from gateway.dimse.destinations import Destinations
from gateway.dimse.getting import UNSENDABLE
from gateway.dimse.negotiation import AcceptedContext
from gateway.dimse.served_association import ServedAssociation
from gateway.dimse.sub_operations import SubOperations, requested_instances
from gateway.errors import Cancelled, GatewayError
from gateway.peers.peer import OutgoingInstance
from gateway.studies.instance_rows import HeldInstance

logger = logging.getLogger("gateway")

UNKNOWN_DESTINATION = 0xA801


def move(
    destinations: Destinations,
    association: ServedAssociation,
    command: Command,
    context: AcceptedContext,
    data: bytes,
) -> None:
    """Answer a C-MOVE-RQ."""
    title = command.text(CommandElement.DESTINATION)
    if title not in destinations:
        answer = command.response(UNKNOWN_DESTINATION, "No peer of this AE title is configured")
        association.respond(command, context, answer)
        return
    instances = requested_instances(association, command, context, data)
    if instances is None:
        return
    operations = SubOperations(len(instances))
    cancelled = _sent(destinations, association, (command, context, title), instances, operations)
    operations.end(association, command, context, cancelled=cancelled)
    operations.record(association, "dimse-move", instances)


def _sent(
    destinations: Destinations,
    association: ServedAssociation,
    request: tuple[Command, AcceptedContext, str],
    instances: Sequence[HeldInstance],
    operations: SubOperations,
) -> bool:
    """Send instances one by one, and count them; whether the request was cancelled. Raises ConnectionEnded."""
    command, context, title = request

    def check() -> None:
        if association.cancelled(command):
            raise Cancelled

    unsent = {instance.sop_instance_uid for instance in instances}
    originator = association.title.title, command.number(CommandElement.MESSAGE_ID)
    outgoing = [_outgoing(association, instance) for instance in instances]
    try:
        for answer in destinations.send(title, outgoing, check, originator):
            unsent.discard(answer.sop_instance_uid)
            operations.count(answer.sop_instance_uid, answer.status)
            if operations.remaining:
                operations.pending(association, command, context)
    except Cancelled:
        return True
    except GatewayError as error:
        logger.warning("a move to %s ended: %s %s", title, error.code, error.private)
        for uid in sorted(unsent):
            operations.count(uid, UNSENDABLE)
    return False


def _outgoing(association: ServedAssociation, instance: HeldInstance) -> OutgoingInstance:
    store = association.provider.store

    def opened(instance: HeldInstance) -> BinaryIO:
        return store.open_instances([instance])[0]

    return OutgoingInstance(instance.sop_instance_uid, instance.size, partial(opened, instance))
