"""QIDO-RS (PS3.18 10.6): searches for studies, series and instances."""

import json

import flask

from gateway.dicom.web.json_model import JsonModel
from gateway.dicom.web.query_attributes import QueryLevel
from gateway.endpoints.access_control import require
from gateway.endpoints.dicomweb.recorded import record, require_audit
from gateway.endpoints.dicomweb.resources import Addresses, owners, require_json
from gateway.endpoints.guarded_views import Rule
from gateway.endpoints.store_views import store_context
from gateway.studies.instance_rows import MAX_PAGE
from gateway.studies.query.query_parameters import read_query
from gateway.studies.query.searching import Match, search

UNSUPPORTED = {
    "fuzzymatching": "Only literal matching has been performed.",
    "emptyvaluematching": "Empty Value Matching has not been performed.",
    "multiplevaluematching": "Multiple Value Matching has not been performed.",
}
MORE = (
    '299 gateway "The number of results exceeded the maximum supported by the server. '
    'Additional results can be requested."'
)
"""The texts of PS3.18 8.3.4.2 and 8.3.4.4 to 8.3.4.6."""
RETRIEVE_URL = "00081190"


def _search(level: QueryLevel, study: str = "", series: str = "") -> flask.Response:
    require("read")
    require_audit()
    media_type = require_json()
    query = read_query(level, flask.request.args.items(multi=True), study=study, series=series)
    matches, more = search(store_context().store, owners(), query)
    record("dicomweb-query", study, level=level.value, matches=len(matches))
    if not matches:  # PS3.18 10.6.3: 204, and not an empty list
        answer = flask.Response(status=204)
    else:
        addresses = Addresses()
        models = [_located(addresses, match) for match in matches]
        answer = flask.Response(json.dumps(models), content_type=media_type)
    for name in query.unsupported:
        answer.headers.add("Warning", f'299 gateway "The {name} parameter is not supported. {UNSUPPORTED[name]}"')
    if more and query.limit == MAX_PAGE:
        answer.headers.add("Warning", MORE)
    return answer


def _located(addresses: Addresses, match: Match) -> JsonModel:
    return match.model | {RETRIEVE_URL: {"vr": "UR", "Value": [addresses.of(*match.uids)]}}


def _studies() -> flask.Response:
    return _search(QueryLevel.STUDY)


def _series(study: str = "") -> flask.Response:
    return _search(QueryLevel.SERIES, study)


def _instances(study: str = "", series: str = "") -> flask.Response:
    return _search(QueryLevel.INSTANCE, study, series)


RULES: tuple[Rule, ...] = (
    ("GET", "/studies", _studies),
    ("GET", "/series", _series),
    ("GET", "/instances", _instances),
    ("GET", "/studies/<study>/series", _series),
    ("GET", "/studies/<study>/instances", _instances),
    ("GET", "/studies/<study>/series/<series>/instances", _instances),
)
