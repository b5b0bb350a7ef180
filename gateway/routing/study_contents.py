"""The content of a study for rules: its instances, without the results of rules."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from gateway.studies import instance_rows, routing_rows
from gateway.studies.instance_rows import HeldInstance
from gateway.studies.routing_rows import content_of
from gateway.studies.store import Store
from gateway.studies.tables import instances as table


@dataclass(frozen=True)
class StudyContent:
    """The instances of a study: all but the results of rules. ``stored`` counts these too."""

    instances: Sequence[HeldInstance]
    stored: int

    @property
    def digest(self) -> str:
        """The digest of the content."""
        return content_of(one.sha256 for one in self.instances)


def read_content(connection: Connection, store: Store, caller: str, study: str) -> StudyContent:
    """Return the content of a caller's study as it is stored now."""
    held = instance_rows.held(connection, caller, store.retention.since, table.c.study_instance_uid == study)
    own = routing_rows.own(connection, (one.sop_instance_uid for one in held))
    return StudyContent([one for one in held if one.sop_instance_uid not in own], len(held))
