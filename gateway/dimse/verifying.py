"""C-ECHO (PS3.7 9.1.5)."""

from gateway.dimse.commands import Command
from gateway.dimse.negotiation import AcceptedContext
from gateway.dimse.served_association import ServedAssociation


def verify(association: ServedAssociation, command: Command, context: AcceptedContext, _data: bytes) -> None:
    """Answer that the association works."""
    association.respond(command, context, command.response(0x0000))
