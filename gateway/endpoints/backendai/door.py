"""What the views of Backend.AI's API share: its sessions, the session of a request, its caller and its JSON."""

from dataclasses import dataclass
from typing import Any, Self

import flask

from gateway.access.signed_requests import ASK_SIGNATURE, SCHEME, SKEW_SECONDS, Proof, SignedHead
from gateway.endpoints.access_control import caller_name, require
from gateway.endpoints.backendai.compute_sessions import ComputeSession, ComputeSessions
from gateway.endpoints.backendai.executing import Executions
from gateway.endpoints.backendai.session_files import SessionFiles
from gateway.endpoints.current import current_service
from gateway.errors import Forbidden, Unauthenticated
from gateway.intake.body import read_json
from gateway.protocol.request import parse_json
from gateway.runs.runs import Runs
from gateway.service.service import Service

EXTENSION = "gateway.backendai"
OWNER = "owner_access_key"


@dataclass(frozen=True)
class BackendAI:
    """The sessions of one application, their files and their executions."""

    sessions: ComputeSessions
    files: SessionFiles
    executions: Executions

    @classmethod
    def of(cls, service: Service, runs: Runs) -> Self:
        """Return those of a service with a store."""
        assert service.store is not None
        sessions, files = ComputeSessions(service.store.store), SessionFiles(service.store.store)
        return cls(sessions, files, Executions(service, runs, sessions, files))


def door() -> BackendAI:
    """Return the sessions of this application."""
    found: BackendAI = flask.current_app.extensions[EXTENSION]
    return found


def session(word: str) -> ComputeSession:
    """Return the caller's session by its name or id. Raises ComputeSessionNotFound, Forbidden."""
    found = door().sessions.get(caller_name(), word)
    require("infer", route=found.route)
    return found


def words() -> dict[str, Any]:
    """Return the JSON of this request, also of a GET. Raises BrokenJSON, LimitExceeded, UnsupportedMedia."""
    return parse_json(read_json(flask.request.environ, current_service().settings), None)


def refuse_owner() -> None:
    """Raise Forbidden for a request on behalf of another access key: no caller acts for another."""
    owner = flask.request.args.get(OWNER)
    if owner and owner != Proof.of(flask.request.environ).access_key:
        raise Forbidden("A key pair is for sessions of its own caller; leave out owner_access_key.")


def refuse_replay() -> None:
    """Raise Unauthenticated for a signature that was used before: whoever repeats it could have changed the body."""
    environ = flask.request.environ
    moment = SignedHead.of(environ).time
    until = (moment.timestamp() if moment else 0.0) + SKEW_SECONDS
    if not door().sessions.remember(Proof.of(environ).digest, until):
        raise Unauthenticated(
            ASK_SIGNATURE, proof_given=True, private="a signature that was used before", scheme=SCHEME
        )
