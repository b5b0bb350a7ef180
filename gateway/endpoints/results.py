"""Stored results: listed, answered again byte by byte, removed (docs/studies.md)."""

import hashlib

import flask

from gateway.endpoints.access_control import caller_name, require
from gateway.endpoints.guarded_views import Rule
from gateway.endpoints.multipart_response import DIGEST_HEADER, hashes_of, parts_of, response
from gateway.endpoints.store_views import moment, page, paged, store_context, time_of
from gateway.studies.listings import Filter, Summary, list_results
from gateway.studies.results import StoredResult


def _list() -> flask.Response:
    require("read")
    args, (limit, after) = flask.request.args, page()
    wanted = Filter(
        study=args.get("study", ""),
        series=args.get("series", ""),
        model=args.get("model", ""),
        version=args.get("version", ""),
        since=time_of("since"),
        until=time_of("until"),
    )
    summaries = list_results(store_context().store, caller_name(), wanted, limit=limit + 1, after=after)
    return paged("results", list(map(entry_of, summaries)), limit, "id")


def entry_of(summary: Summary) -> dict[str, object]:
    """Return a result as JSON, without its bytes."""
    same = "id", "model", "version", "input_digest", "output_digest", "model_digest", "weights_digest"
    return {
        **{name: getattr(summary, name) for name in same},
        "parameters_digest": summary.parameters_digest,
        "created": moment(summary.created_at),
        "bytes": summary.size,
        "studies": list(summary.studies),
        "series": list(summary.series),
        "instances": summary.instances,
    }


def _result(id: str) -> flask.Response:
    require("read")
    return answer(store_context().results.get(id, caller_name()))


def answer(stored: StoredResult) -> flask.Response:
    """A stored answer as the model's route gave it, with ``Age`` in seconds (RFC 9111 5.1); the same bytes each time.

    Its boundary is a digest of its digests, which none of its parts can contain.
    """
    hashes = hashes_of(stored.result.input_digest, stored.output_digest)
    headers = {"Age": str(stored.age), DIGEST_HEADER: stored.algorithm}
    return response(parts_of(stored.result, [hashes]), headers, hashlib.sha256(hashes).hexdigest()[:32])


def _remove(id: str) -> flask.Response:
    require("delete")
    store_context().results.delete(id, caller_name())
    return flask.Response(status=204)


RULES: tuple[Rule, ...] = (
    ("GET", "/results", _list),
    ("GET", "/results/<id>", _result),
    ("DELETE", "/results/<id>", _remove),
)
