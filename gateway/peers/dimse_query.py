"""C-ECHO and C-FIND as a client (PS3.4 A, C.4.1), with matches in the DICOM JSON model."""

from collections.abc import Iterator
from dataclasses import replace

from pynetdicom.presentation import build_context

from gateway.dicom.web.identifiers import match_model, query_identifier
from gateway.errors import PeerFailed
from gateway.peers.dimse_association import associated, lost
from gateway.peers.peer import UIDS, Check, Level, Match, PeerQuery
from gateway.peers.peer_entries import DimseAddress

VERIFICATION, STUDY_FIND = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
PENDING = (0xFF00, 0xFF01)
WORDS: dict[Level, str] = {"study": "STUDY", "series": "SERIES", "instance": "IMAGE"}
RETURNED: dict[Level, tuple[str, ...]] = {
    "study": ("StudyInstanceUID", "StudyDate", "PatientID", "AccessionNumber", "ModalitiesInStudy"),
    "series": ("SeriesInstanceUID", "Modality", "SeriesNumber"),
    "instance": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}
"""Attributes that are asked for beside those of a query."""


def echo(name: str, address: DimseAddress) -> None:
    """Verify that the peer answers. See ``Peer.echo``."""
    with associated(name, address, [build_context(VERIFICATION)]) as association:
        answer = association.send_c_echo()
    if "Status" not in answer:
        raise lost(name)
    if answer.Status != 0:
        raise PeerFailed(f"The peer {name} does not answer C-ECHO.", private=f"peer {name}: {answer.Status:04X}")


def find(name: str, address: DimseAddress, query: PeerQuery, check: Check) -> Iterator[Match]:
    """Yield the matches of a query, each once. See ``Peer.find``.

    A search for instances names their series (PS3.4 C.4.1.2.1), so those of a study are searched series by series.
    """
    if query.level == "instance" and query.study and not query.series:
        yield from _in_each_series(name, address, query, check)
        return
    above = {"StudyInstanceUID": query.study, "SeriesInstanceUID": query.series}
    keys = dict.fromkeys((*RETURNED[query.level], *query.fields), "")
    keys |= {keyword: uid for keyword, uid in above.items() if uid} | dict(query.filters)
    identifier, seen = query_identifier(WORDS[query.level], keys), set[str]()
    with associated(name, address, [build_context(STUDY_FIND)]) as association:
        for answer, match in association.send_c_find(identifier, STUDY_FIND):
            check()
            if "Status" not in answer:
                raise lost(name)
            if answer.Status not in PENDING:
                if answer.Status != 0:
                    private = f"peer {name}: C-FIND ended with {answer.Status:04X}"
                    raise PeerFailed(f"The peer {name} does not answer this query.", private=private)
                return
            model = match_model(match)
            uid = "".join(map(str, model.get(UIDS[query.level], {}).get("Value", [])[:1]))
            if uid and uid not in seen:
                seen.add(uid)
                yield model
            if len(seen) >= query.limit:
                association.abort()
                return


def _in_each_series(name: str, address: DimseAddress, query: PeerQuery, check: Check) -> Iterator[Match]:
    left = query.limit
    for series in list(find(name, address, PeerQuery("series", query.study, limit=left), check)):
        uid = "".join(map(str, series[UIDS["series"]]["Value"][:1]))
        for match in find(name, address, replace(query, series=uid, limit=left), check):
            left -= 1
            yield match
        if not left:
            return
