"""A deadline that the client names: the server's own answer to it arrives."""

import io
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPResponse

from gateway.client import Client, ClientError, Refused
from tests.client.servers import problem

LATE = 1.0
"""Seconds from a deadline until a busy server's 504 arrives."""


class BusyServer(BaseAdapter):
    """A gateway on a clock of its own, which answers each request LATE seconds after the deadline of its header."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """Answer 504, or time out where the client waits for less."""
        self.requests += 1
        _, patience = options["timeout"]
        if patience < float(request.headers["X-Request-Timeout"]) + LATE:
            raise requests.ReadTimeout
        said = problem(504, type="urn:gateway:problem:deadline-exceeded", detail="The deadline passed.")
        headers = {"Content-Type": said.content_type}
        raw = HTTPResponse(io.BytesIO(said.body), headers, said.status, preload_content=False)
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        """Do nothing: no connection is open."""


@pytest.fixture
def busy() -> BusyServer:
    return BusyServer()


@pytest.fixture
def client(busy: BusyServer) -> Client:
    session = requests.Session()
    session.mount("http://", busy)
    return Client("http://gateway.local", timeout=10, session=session)


def test_the_server_itself_reports_that_its_deadline_passed(client: Client) -> None:
    with client, pytest.raises(Refused) as caught:
        client.ask({}, [])
    assert (caught.value.status, caught.value.code) == (504, "deadline-exceeded")


def test_a_passed_deadline_is_not_retried(busy: BusyServer, client: Client) -> None:
    with client, pytest.raises(ClientError):
        client.studies()
    assert busy.requests == 1
