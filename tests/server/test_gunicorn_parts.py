"""The parts of gunicorn below its documented interface that the gateway overrides or uses, each by its name.

gunicorn promises nothing of them. A release that renames one fails here in a sentence, before a server misbehaves.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.message import Request
from gunicorn.http.parser import Parser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.http.wsgi import Response
from gunicorn.workers.gthread import PollableMethodQueue, TConn, ThreadWorker
from packaging.requirements import Requirement

from gateway.server.worker import Worker
from tests.house.pages import ROOT

OVERRIDDEN = {
    "_keepalive_after": ("conn", "keepalive"),
    "check_config": ("cfg", "log"),
    "accept": ("listener",),
    "enqueue_req": ("conn",),
    "finish_request": ("conn", "fs"),
    "handle_error": ("req", "client", "addr", "exc"),
    "get_thread_pool": (),
    "handle_request": ("req", "conn"),
    "handle_exit": ("sig", "frame"),
    "init_signals": (),
    "load_wsgi": (),
    "murder_pending": (),
    "notify": (),
    "run": (),
    "set_accept_enabled": ("enabled",),
    "wait_for_and_dispatch_events": ("timeout",),
}
"""Methods of gunicorn's threaded worker that ``gateway.worker.Worker`` overrides, with their parameters."""

USED: dict[type, set[str]] = {
    ThreadWorker: {
        *("age", "alive", "cfg", "keepalived_conns", "log", "max_keepalived", "method_queue"),
        *("nr_conns", "poller", "sockets", "worker_connections", "wsgi"),
    },
    PollableMethodQueue: {"defer", "fileno", "init", "run_callbacks"},
    Response: {
        *("chunked", "close", "force_close", "headers_sent", "must_close", "req", "send_headers"),
        *("sent", "should_close", "start_response", "status", "write"),
    },
    TConn: {"cfg", "close", "data_ready", "initialized", "parser", "sock", "timeout"},
    SocketUnreader: {"buf", "sock", "take_buffered", "unread"},
    Parser: {"finish_body", "mesg", "unreader"},
    Request: {"must_close", "should_close"},
    Body: {"buf", "read", "reader"},
    LengthReader: {"length", "read", "unreader"},
    ChunkedReader: {"parse_chunk_size", "parser"},
    Arbiter: {"APP_LOAD_ERROR", "WORKER_BOOT_ERROR", "app", "cfg", "log", "reap_workers", "reload", "spawn_worker"},
    Logger: {"access", "access_log_enabled", "datefmt", "error_fmt", "setup"},
    Config: {"address", "is_ssl", "settings"},
}
"""Attributes that the gateway reads, sets or calls, by the class that has them."""


def _missing(name: str) -> str:
    installed = metadata.version("gunicorn")
    return f"gunicorn {installed} has no {name} as the gateway uses it: adapt the gateway, then this table."


def _self_attributes(source: str, *, only_assigned: bool) -> Iterator[str]:
    for node in ast.walk(ast.parse(textwrap.dedent(source))):
        if not isinstance(node, ast.Attribute) or (only_assigned and not isinstance(node.ctx, ast.Store)):
            continue
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            yield node.attr


def _attributes(owner: type) -> set[str]:
    """Names on the class and its bases, and those that their methods set on ``self``."""
    classes = [base for base in owner.__mro__ if base is not object]
    assigned = {name for each in classes for name in _self_attributes(inspect.getsource(each), only_assigned=True)}
    return assigned | set(dir(owner))


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_an_overridden_method_of_gunicorn_has_the_expected_parameters(name: str) -> None:
    method = getattr(ThreadWorker, name, None)
    assert method is not None, _missing(f"ThreadWorker.{name}")
    parameters = tuple(parameter for parameter in inspect.signature(method).parameters if parameter != "self")
    assert parameters == OVERRIDDEN[name], _missing(f"ThreadWorker.{name}{OVERRIDDEN[name]}")


@pytest.mark.parametrize("owner", USED, ids=lambda owner: owner.__name__)
def test_an_attribute_of_gunicorn_that_is_used_exists(owner: type) -> None:
    missing = USED[owner] - _attributes(owner)
    assert missing == set(), _missing(f"{owner.__name__}.{min(missing, default='')}")


def _own_classes() -> list[type]:
    return [each for each in Worker.__mro__ if each.__module__.startswith("gateway.")]


def test_every_overridden_method_is_in_the_table() -> None:
    own = {name for each in _own_classes() for name in vars(each) if callable(getattr(each, name))}
    assert {name for name in own if hasattr(ThreadWorker, name)} - set(dir(object)) == OVERRIDDEN.keys()


def test_every_attribute_of_gunicorn_s_worker_that_is_used_is_in_the_table() -> None:
    own = {name for each in _own_classes() for name in vars(each)}
    named = {name for each in _own_classes() for name in _self_attributes(inspect.getsource(each), only_assigned=False)}
    assert (named - own) & _attributes(ThreadWorker) == USED[ThreadWorker]


def test_the_fast_way_to_a_body_s_bytes_is_taken_from_gunicorn_s_own_classes() -> None:
    assert (Body.__name__, Body.__module__) == ("Body", "gunicorn.http.body")
    assert (LengthReader.__name__, SocketUnreader.__name__) == ("LengthReader", "SocketUnreader")


def test_the_requirement_excludes_releases_whose_private_parts_are_unknown() -> None:
    lines = (ROOT / "setup.cfg").read_text(encoding="utf-8").splitlines()
    (requirement,) = [Requirement(line) for line in lines if line.strip().startswith("gunicorn")]
    major = int(metadata.version("gunicorn").partition(".")[0])
    assert f"{major}.0" in requirement.specifier
    assert f"{major + 1}.0" not in requirement.specifier


def test_a_missing_part_is_found() -> None:
    assert "no_such_part" not in _attributes(ThreadWorker)
    assert {"alive", "accept", "nr_conns"} <= _attributes(ThreadWorker)
    assert Path(inspect.getfile(ThreadWorker)).name == "gthread.py"
