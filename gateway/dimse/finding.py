"""C-FIND on the study root, by the matching of QIDO-RS (PS3.4 C.4.1)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.dicom.web.identifiers import LEVEL, QueryKey, read_keys, write_match
from gateway.dicom.web.query_attributes import Matching, QueryLevel, named
from gateway.dimse.commands import Command
from gateway.dimse.negotiation import AcceptedContext
from gateway.dimse.served_association import ServedAssociation
from gateway.errors import GatewayError, QueryRefused, StudyRefused
from gateway.studies.query.query_parameters import LEVELS, Query, Term
from gateway.studies.query.searching import Match, search
from gateway.studies.store import Store

PENDING, PENDING_PARTLY, SUCCESS, CANCELLED = 0xFF00, 0xFF01, 0x0000, 0xFE00
"""``PENDING_PARTLY``: the query has keys that are not matched (PS3.4 C.4.1.1.4)."""
WRONG_IDENTIFIER, FAILED = 0xA900, 0xC000
LEVEL_WORDS = {"STUDY": QueryLevel.STUDY, "SERIES": QueryLevel.SERIES, "IMAGE": QueryLevel.INSTANCE}
UNIQUE_KEYS = {QueryLevel.STUDY: "0020000D", QueryLevel.SERIES: "0020000E", QueryLevel.INSTANCE: "00080018"}


class ReadQuery(NamedTuple):
    """A query of an identifier: its ``word`` for the level, and whether it has keys that are not matched."""

    query: Query
    word: str
    partly: bool


def find(association: ServedAssociation, command: Command, context: AcceptedContext, data: bytes) -> None:
    """Answer a C-FIND-RQ with a pending response for each match, and a last one."""
    provider, matches = association.provider, 0
    try:
        keys = read_keys(data, context.transfer_syntax)
        read = read_query_keys(keys)
        for match in _matches(provider.store, association.title.owners, read.query):
            if association.cancelled(command):
                association.respond(command, context, command.response(CANCELLED))
                break
            answer = write_match(match.model, keys, read.word, provider.title, context.transfer_syntax)
            status = PENDING_PARTLY if read.partly else PENDING
            association.respond(command, context, command.response(status), answer)
            matches += 1
        else:
            association.respond(command, context, command.response(SUCCESS))
    except (QueryRefused, StudyRefused) as error:
        association.respond(command, context, command.response(WRONG_IDENTIFIER, error.detail))
    except GatewayError as error:
        association.respond(command, context, command.response(FAILED, error.detail))
    provider.record(association, "dimse-find", matches=matches)


def _matches(store: Store, owners: Sequence[str], query: Query) -> Iterator[Match]:
    """All matches, a page at a time."""
    offset, more = 0, True
    while more:
        page, more = search(store, owners, Query(level=query.level, terms=query.terms, offset=offset))
        yield from page
        offset += len(page)


def read_query_keys(keys: Sequence[QueryKey]) -> ReadQuery:
    """Return the query of an identifier. Raises QueryRefused for one that names no level, or not what is above it."""
    values = {key.tag: key.value for key in keys}
    word = values.get(LEVEL, "").strip()
    if word not in LEVEL_WORDS:
        raise QueryRefused("QueryRetrieveLevel is STUDY, SERIES or IMAGE.")
    level = LEVEL_WORDS[word]
    for above in LEVELS[: LEVELS.index(level)]:
        if not values.get(UNIQUE_KEYS[above], "") or "\\" in values[UNIQUE_KEYS[above]]:
            raise QueryRefused(f"A query of the level {word} names one {above} by its UID.")
    terms, partly = list[Term](), False
    for key in keys:
        attribute = named(key.tag)
        if not key.value.strip() or key.tag in (LEVEL, "00080005"):
            continue
        if (
            attribute is None
            or attribute.matching == Matching.NONE
            or LEVELS.index(attribute.level) > LEVELS.index(level)
        ):
            partly = True
        else:
            terms.append(Term(attribute, key.value))
    return ReadQuery(Query(level=level, terms=tuple(terms)), word, partly)
