"""The stored instances that a caller may see: its own, and those of the owners that its key reads."""

from collections.abc import Iterable, Sequence

from gateway.errors import StudyNotFound
from gateway.studies import instance_rows
from gateway.studies.instance_rows import HeldInstance
from gateway.studies.manifests import is_uid
from gateway.studies.store import Store
from gateway.studies.tables import instances as table

UNKNOWN = "No such study, series or instance is stored for this caller."


def visible_instances(
    store: Store, owners: Sequence[str], study: str, series: str = "", sop: str = ""
) -> list[HeldInstance]:
    """Return the instances of a study, a series or one instance, by series and SOP UID.

    Of several owners who have an instance the first counts. Raises StudyNotFound where there is none.
    """
    path = {"study_instance_uid": study, "series_instance_uid": series, "sop_instance_uid": sop}
    uids = {name: uid for name, uid in path.items() if uid}
    if not all(map(is_uid, uids.values())):
        raise StudyNotFound(UNKNOWN)
    conditions = [table.c[name] == uid for name, uid in uids.items()]
    matches: dict[str, HeldInstance] = {}
    with store.index.reading() as connection:
        for owner in owners:
            for instance in instance_rows.held(connection, owner, store.retention.since, *conditions):
                matches.setdefault(instance.sop_instance_uid, instance)
    if not matches:
        raise StudyNotFound(UNKNOWN)
    return sorted(matches.values(), key=lambda one: (one.series_instance_uid, one.sop_instance_uid))


def held_instances(store: Store, caller: str, sops: Iterable[str]) -> dict[str, HeldInstance]:
    """Return those of some instances that a caller holds, by SOP Instance UID."""
    with store.index.reading() as connection:
        found = instance_rows.held_in(connection, caller, store.retention.since, table.c.sop_instance_uid, sops)
    return {instance.sop_instance_uid: instance for instance in found}
