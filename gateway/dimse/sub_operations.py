"""The sub-operations of a retrieval: which instances, their numbers, and the responses that tell them (PS3.4 C.4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.dicom.web.identifiers import LEVEL, QueryKey, read_keys, write_failures
from gateway.dimse.commands import Command, CommandElement
from gateway.dimse.finding import CANCELLED, FAILED, LEVEL_WORDS, PENDING, SUCCESS, UNIQUE_KEYS, WRONG_IDENTIFIER
from gateway.dimse.negotiation import AcceptedContext
from gateway.dimse.served_association import ServedAssociation
from gateway.errors import GatewayError, QueryRefused, StudyNotFound, StudyRefused
from gateway.studies.instance_rows import HeldInstance
from gateway.studies.query.query_parameters import LEVELS
from gateway.studies.query.visibility import visible_instances
from gateway.studies.store import Store

SOME_FAILED, ALL_FAILED = 0xB000, 0xA702
MAX_UIDS = 1_000
"""UIDs of one identifier, as many as of a query."""
MAX_NUMBER = 0xFFFF
"""The largest US (PS3.5 6.2)."""


def requested_instances(
    association: ServedAssociation, command: Command, context: AcceptedContext, data: bytes
) -> list[HeldInstance] | None:
    """Return the instances that a retrieval asks for; None for one that is refused, and has been answered so."""
    try:
        keys = read_keys(data, context.transfer_syntax)
        return chosen_instances(association.provider.store, association.title.owners, keys)
    except GatewayError as error:
        status = WRONG_IDENTIFIER if isinstance(error, QueryRefused | StudyRefused) else FAILED
        association.respond(command, context, command.response(status, error.detail))
        return None


def chosen_instances(store: Store, owners: Sequence[str], keys: Sequence[QueryKey]) -> list[HeldInstance]:
    """Return the instances that an identifier names by the unique keys of its level and those above.

    Raises QueryRefused for an identifier that does not name them.
    """
    values = {key.tag: [one.strip() for one in key.value.split("\\") if one.strip()] for key in keys}
    level = LEVEL_WORDS.get("".join(values.get(LEVEL, [])))
    if level is None:
        raise QueryRefused("QueryRetrieveLevel is STUDY, SERIES or IMAGE.")
    path = LEVELS[: LEVELS.index(level) + 1]
    uids = [values.get(UNIQUE_KEYS[one], []) for one in path]
    if not all(uids) or any(len(one) > 1 for one in uids[:-1]) or len(uids[-1]) > MAX_UIDS:
        raise QueryRefused("A retrieval names one study or series by its UID, and one or more below it.")
    found: dict[str, HeldInstance] = {}
    above = [one[0] for one in uids[:-1]]
    for uid in dict.fromkeys(uids[-1]):
        try:
            study, series, sop = [*above, uid, "", ""][: len(LEVELS)]
            instances = visible_instances(store, owners, study, series, sop)
        except StudyNotFound:
            continue
        found |= {one.sop_instance_uid: one for one in instances}
    return list(found.values())


@dataclass
class SubOperations:
    """The numbers of one retrieval."""

    remaining: int
    completed: int = 0
    warning: int = 0
    failed: list[str] = field(default_factory=list)

    def count(self, sop_instance_uid: str, status: int) -> None:
        """Count a sub-operation that ended with a status of C-STORE; 0xBxxx are warnings (PS3.4 B.2.3)."""
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif status >> 12 == 0xB:
            self.warning += 1
        else:
            self.failed.append(sop_instance_uid)

    def pending(self, association: ServedAssociation, command: Command, context: AcceptedContext) -> None:
        """Tell how far it is."""
        answer = command.response(PENDING, numbers=self._numbers(remaining=True))
        association.respond(command, context, answer)

    def end(
        self, association: ServedAssociation, command: Command, context: AcceptedContext, *, cancelled: bool
    ) -> None:
        """Send the last response, with the UIDs that failed."""
        status = CANCELLED if cancelled else self._status()
        answer = command.response(status, numbers=self._numbers(remaining=cancelled))
        data = write_failures(self.failed, context.transfer_syntax) if self.failed else None
        association.respond(command, context, answer, data)

    def record(self, association: ServedAssociation, kind: str, instances: Sequence[HeldInstance]) -> None:
        """Write an audit record for each study."""
        numbers = {"instances": self.completed + self.warning, "failures": len(self.failed)}
        for study in sorted({instance.study_instance_uid for instance in instances}) or [""]:
            association.provider.record(association, kind, study, **numbers)

    def _status(self) -> int:
        if not self.failed and not self.warning:
            return SUCCESS
        return SOME_FAILED if self.completed or self.warning else ALL_FAILED

    def _numbers(self, *, remaining: bool) -> dict[CommandElement, int]:
        numbers = {
            CommandElement.COMPLETED: self.completed,
            CommandElement.FAILED: len(self.failed),
            CommandElement.WARNING: self.warning,
            **({CommandElement.REMAINING: self.remaining} if remaining else {}),
        }
        return {element: min(number, MAX_NUMBER) for element, number in numbers.items()}
