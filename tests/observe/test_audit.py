"""The audit is written to S3 as an empty object named by both digests, and its failure fails no answer."""

import logging
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from gateway.observe.audit import AuditInfo, write_s3_audit
from tests.require import require
from tests.waiting import PATIENCE

HASHES: AuditInfo = {"input_hash": "a" * 64, "output_hash": "b" * 64}
KEY = f"{'a' * 64}:{'b' * 64}"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    require(all(map(find_spec, ("boto3", "moto", "flask_cors"))), "boto3 and moto[server] stand in for S3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a store that has one empty bucket, which the environment names."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "S3_AUDIT_BUCKET_NAME": "audit",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3
    import requests

    requests.post(f"{endpoint}/moto-api/reset", timeout=PATIENCE)
    client = boto3.Session().client("s3")
    client.create_bucket(Bucket="audit")
    yield client
    client.close()


def tags(s3: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket="audit", Key=KEY)["TagSet"]}


def test_an_audit_is_an_empty_object_named_by_both_digests(s3: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write_s3_audit({**HASHES, "vendor": "Acme Imaging: v1.2 / x=3"})
    (found,) = s3.list_objects_v2(Bucket="audit")["Contents"]
    assert (found["Key"], found["Size"]) == (KEY, 0)
    assert tags(s3) == {"Vendor": "Acme Imaging: v1.2 / x=3"}
    (line,) = [record.getMessage() for record in caplog.records if record.name == "request_auditor"]
    assert line.startswith('{"input_hash": "aaa')
    assert line.endswith("- the audit was written")


def test_a_vendor_that_is_not_named_is_unknown(s3: Any) -> None:
    write_s3_audit(HASHES)
    assert tags(s3) == {"Vendor": "Unknown"}


def test_the_bucket_is_read_at_each_call(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.create_bucket(Bucket="another")
    monkeypatch.setenv("S3_AUDIT_BUCKET_NAME", "another")
    write_s3_audit(HASHES)
    assert s3.list_objects_v2(Bucket="another")["KeyCount"] == 1
    assert s3.list_objects_v2(Bucket="audit")["KeyCount"] == 0


def warned(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = [record for record in caplog.records if record.name == "request_auditor"]
    assert record.levelno == logging.WARNING
    return record.getMessage()


def test_a_bucket_that_is_not_there_is_a_warning(
    s3: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("S3_AUDIT_BUCKET_NAME", "nowhere")
    write_s3_audit(HASHES)
    assert warned(caplog).endswith("the audit was not written: NoSuchBucket")


def test_a_bucket_that_is_not_named_is_a_warning(
    s3: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("S3_AUDIT_BUCKET_NAME")
    write_s3_audit(HASHES)
    assert "not written" in warned(caplog)


def test_digests_that_are_missing_are_a_warning(s3: Any, caplog: pytest.LogCaptureFixture) -> None:
    write_s3_audit({"vendor": "x"})
    assert "not written" in warned(caplog)


def test_a_store_that_does_not_listen_is_a_warning(
    s3: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        write_s3_audit(HASHES)
    assert warned(caplog).endswith("the audit was not written: EndpointConnectionError")


def test_without_boto3_the_audit_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    write_s3_audit(HASHES)
    assert "not written" in warned(caplog)
